// All steps of an LSTM for XLA on CPU, and their gradients. A few sequences go through
// all of time on one core, by weights that are packed once: no step waits for another
// core, and what it computes stays in its cache.
//
// projected [members, batch, time, 4 hidden] are the inputs' products with biases,
// blocks i, f, g, o; kernel [members, hidden, 4 hidden] meets the hidden state. A step
// that is not real leaves hidden and memory as they are. What a product of a step reads
// lies in a room of its own: rows a whole number of pages apart share few cache lines.

#include "tiles.h"

namespace jaxdl {
namespace {

struct Sizes {
  Index members, time, batch, hidden;
  bool reverse;

  // The place in memory of the step'th step of a sequence.
  Index Place(Index sequence, Index step) const {
    return sequence * time + (reverse ? time - 1 - step : step);
  }
};

// Sequences that go together: of a tile's rows a little less than three.
constexpr Index TOGETHER = 32;

template <typename T, typename Work>
void EachBlock(ffi::ThreadPool pool, const Sizes& s, Work work) {
  const Index blocks = (s.batch + TOGETHER - 1) / TOGETHER;
  ForEach(pool, s.members * blocks, [&](Index i) {
    const Index first = i % blocks * TOGETHER;
    work(i / blocks, first, std::min(TOGETHER, s.batch - first));
  });
}

// One example's gates of one step, and hidden state and memory after it in their place.
template <typename T>
void Gates(Index width, const T* projected, const T* recurrent, T* gates, T* hidden,
           T* memory) {
  for (Index c = 0; c < width; c += Lanes<T>::WIDTH) {
    const Index n = width - c;
    auto entering = [&](Index block) {
      const Index at = block * width + c;
      return Load(projected + at, n) + Load(recurrent + at, n);
    };
    const Vector<T> i = Sigmoid(entering(0)), f = Sigmoid(entering(1));
    const Vector<T> g = Tanh(entering(2)), o = Sigmoid(entering(3));
    const Vector<T> kept = f * Load(memory + c, n) + i * g;
    Store(gates + c, i, n);
    Store(gates + width + c, f, n);
    Store(gates + 2 * width + c, g, n);
    Store(gates + 3 * width + c, o, n);
    Store(memory + c, kept, n);
    Store(hidden + c, Vector<T>(o * Tanh(kept)), n);
  }
}

template <typename T>
void Forward(ffi::ThreadPool pool, const Sizes& s, const T* projected, const T* kernel,
             const T* hidden, const T* memory, const T* real, T* hiddens, T* memories,
             T* gates) {
  const Index h = s.hidden, wide = 4 * h;
  std::vector<Panels<T>> weights;
  for (Index m = 0; m < s.members; ++m)
    weights.emplace_back(h, wide, [&, m](Index row, Index column) {
      return kernel[(m * h + row) * wide + column];
    });
  EachBlock<T>(pool, s, [&](Index m, Index first, Index rows) {
    std::vector<T> recurrent(rows * wide);
    const Index own = m * s.batch + first;
    std::vector<T> now(hidden + own * h, hidden + (own + rows) * h);
    std::vector<T> kept(memory + own * h, memory + (own + rows) * h);
    for (Index step = 0; step < s.time; ++step) {
      Times(now.data(), h, rows, h, weights[m], wide, recurrent.data(), wide);
      for (Index r = 0; r < rows; ++r) {
        const Index at = s.Place(own + r, step);
        T *by_hidden = now.data() + r * h, *by_memory = kept.data() + r * h;
        if (real[at] != T(0))
          Gates(h, projected + at * wide, recurrent.data() + r * wide,
                gates + at * wide, by_hidden, by_memory);
        else
          std::fill_n(gates + at * wide, wide, T(0));
        std::copy_n(by_hidden, h, hiddens + at * h);
        std::copy_n(by_memory, h, memories + at * h);
      }
    }
  });
}

// One example's step on the way back: slopes of what entered the gates; slope_memory
// becomes that of the memory before the step.
template <typename T>
void GateSlopes(Index hidden, const T* gates, const T* before, const T* after,
                const T* slope_hidden, T* slope_memory, T* entered) {
  for (Index c = 0; c < hidden; c += Lanes<T>::WIDTH) {
    const Index n = hidden - c;
    const Vector<T> i = Load(gates + c, n), f = Load(gates + hidden + c, n);
    const Vector<T> g = Load(gates + 2 * hidden + c, n);
    const Vector<T> o = Load(gates + 3 * hidden + c, n);
    const Vector<T> put_out = Tanh(Load(after + c, n));
    const Vector<T> by_h = Load(slope_hidden + c, n);
    const Vector<T> by_c =
        Load(slope_memory + c, n) + by_h * o * (1 - put_out * put_out);
    Store(entered + c, Vector<T>(by_c * g * i * (1 - i)), n);
    Store(entered + hidden + c,
          Vector<T>(by_c * Load(before + c, n) * f * (1 - f)), n);
    Store(entered + 2 * hidden + c, Vector<T>(by_c * i * (1 - g * g)), n);
    Store(entered + 3 * hidden + c, Vector<T>(by_h * put_out * o * (1 - o)), n);
    Store(slope_memory + c, Vector<T>(by_c * f), n);
  }
}

template <typename T>
void Backward(ffi::ThreadPool pool, const Sizes& s, const T* gates, const T* kernel,
              const T* memory, const T* memories, const T* real, const T* slopes,
              const T* last_memory, T* entered, T* first_hidden, T* first_memory) {
  const Index h = s.hidden, wide = 4 * h;
  std::vector<Panels<T>> weights;
  for (Index m = 0; m < s.members; ++m)
    weights.emplace_back(wide, h, [&, m](Index row, Index column) {
      return kernel[(m * h + column) * wide + row];
    });
  EachBlock<T>(pool, s, [&](Index m, Index first, Index rows) {
    const Index own = m * s.batch + first;
    // Slopes of the hidden state by later steps, of one with its own; of what entered.
    std::vector<T> later(rows * h), whole(rows * h), flows(rows * wide);
    T* by_memory = first_memory + own * h;
    std::copy_n(last_memory + own * h, rows * h, by_memory);
    for (Index step = s.time - 1; step >= 0; --step) {
      for (Index r = 0; r < rows; ++r) {
        const Index at = s.Place(own + r, step);
        T *flow = flows.data() + r * wide, *by_hidden = whole.data() + r * h;
        const T* before = step ? memories + s.Place(own + r, step - 1) * h
                               : memory + (own + r) * h;
        for (Index c = 0; c < h; ++c)
          by_hidden[c] = later[r * h + c] + slopes[at * h + c];
        if (real[at] != T(0))
          GateSlopes(h, gates + at * wide, before, memories + at * h, by_hidden,
                     by_memory + r * h, flow);
        else
          std::fill_n(flow, wide, T(0));
        std::copy_n(flow, wide, entered + at * wide);
      }
      Times(flows.data(), wide, rows, wide, weights[m], h, later.data(), h);
      for (Index r = 0; r < rows; ++r)
        if (real[s.Place(own + r, step)] == T(0))
          std::copy_n(whole.data() + r * h, h, later.data() + r * h);
    }
    std::copy(later.begin(), later.end(), first_hidden + own * h);
  });
}

Sizes SizesOf(ffi::AnyBuffer hidden, ffi::AnyBuffer real, bool reverse) {
  const auto size = real.dimensions();
  return {size[0], size[2], size[1], hidden.dimensions()[2], reverse};
}

ffi::Error ForwardCall(ffi::ThreadPool pool, ffi::AnyBuffer projected,
                       ffi::AnyBuffer kernel, ffi::AnyBuffer hidden,
                       ffi::AnyBuffer memory, ffi::AnyBuffer real,
                       ffi::Result<ffi::AnyBuffer> hiddens,
                       ffi::Result<ffi::AnyBuffer> memories,
                       ffi::Result<ffi::AnyBuffer> gates, bool reverse) {
  return ByType(projected, [&](auto zero) {
    using T = decltype(zero);
    Forward<T>(pool, SizesOf(hidden, real, reverse), projected.typed_data<T>(),
               kernel.typed_data<T>(), hidden.typed_data<T>(), memory.typed_data<T>(),
               real.typed_data<T>(), hiddens->typed_data<T>(),
               memories->typed_data<T>(), gates->typed_data<T>());
  });
}

ffi::Error BackwardCall(ffi::ThreadPool pool, ffi::AnyBuffer gates,
                        ffi::AnyBuffer kernel, ffi::AnyBuffer memory,
                        ffi::AnyBuffer memories, ffi::AnyBuffer real,
                        ffi::AnyBuffer slopes, ffi::AnyBuffer last_memory,
                        ffi::Result<ffi::AnyBuffer> entered,
                        ffi::Result<ffi::AnyBuffer> first_hidden,
                        ffi::Result<ffi::AnyBuffer> first_memory, bool reverse) {
  return ByType(gates, [&](auto zero) {
    using T = decltype(zero);
    Backward<T>(pool, SizesOf(memory, real, reverse), gates.typed_data<T>(),
                kernel.typed_data<T>(), memory.typed_data<T>(),
                memories.typed_data<T>(), real.typed_data<T>(), slopes.typed_data<T>(),
                last_memory.typed_data<T>(), entered->typed_data<T>(),
                first_hidden->typed_data<T>(), first_memory->typed_data<T>());
  });
}

}  // namespace
}  // namespace jaxdl

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_lstm, jaxdl::ForwardCall,
                              (jaxdl::Signature<5, 3>().Attr<bool>("reverse")));
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_lstm_gradient, jaxdl::BackwardCall,
                              (jaxdl::Signature<7, 3>().Attr<bool>("reverse")));
