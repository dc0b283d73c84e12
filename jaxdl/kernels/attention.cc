// Attention for XLA on CPU: softmax(scale q k^T) v head by head, and its gradients. Of
// a block of queries the scores stay in a core's cache; causal blocks leave out keys
// that none of them may look at. Scores are computed again on the way back
// (FlashAttention, Dao et al. 2022, with whole rows in place of running sums).
//
// q, out [batch, queries, heads, features], k, v [batch, keys, groups, features]: heads
// / groups heads of queries share one of keys. spread [batch, heads, queries] is the
// logarithm of the sum of exponentials of a query's scores.

#include "packing.h"

#include <limits>

namespace jaxdl {
namespace {

struct Sizes {
  Index batch, queries, keys, heads, groups, features;
  bool causal;
};

// One sequence and one head of keys, for the queries' heads that share it.
template <typename T>
class Head {
 public:
  // Queries that are looked after at once: of more, causal ones look at more keys in
  // vain.
  static constexpr Index BLOCK = 24;
  static_assert(BLOCK % ROWS == 0);

  Head(const Sizes& s, const T* k)
      : s_(s),
        scale_(T(1) / std::sqrt(T(s.features))),
        line_(s.groups * s.features),
        wide_((s.keys + Lanes<T>::COLUMNS - 1) / Lanes<T>::COLUMNS *
              Lanes<T>::COLUMNS),
        keys_across_(PanelsOf<T>({k, 1, line_}, s.features, s.keys)),
        weights_(BLOCK * wide_),
        queries_(BLOCK * s.features) {}

  // out and spread of one head of queries. `values`: v as panels.
  void Forward(const T* q, const Panels<T>& values, T* out, T* spread) {
    const Index line = s_.heads * s_.features;
    for (Index first = 0; first < s_.queries; first += BLOCK) {
      const Index rows = std::min(BLOCK, s_.queries - first);
      const Index end = Scores(q, first, rows);
      for (Index r = 0; r < rows; ++r) {
        T* row = weights_.data() + r * wide_;
        const T largest = Largest(row, end);
        const T total = Exponentials(row, end, largest);
        spread[first + r] = largest + std::log(total);
        totals_[r] = total;
      }
      T* to = out + first * line;
      Times(weights_.data(), wide_, rows, end, values, s_.features, to, line);
      for (Index r = 0; r < rows; ++r) {
        const T part = T(1) / totals_[r];
        for (Index f = 0; f < s_.features; ++f) to[r * line + f] *= part;
      }
    }
  }

  // Writes the gradient by q of one head of queries, adds those by k and v.
  void Backward(const T* q, const Panels<T>& keys, const Panels<T>& values_across,
                const T* out, const T* spread, const T* slope, T* by_q, T* by_k,
                T* by_v) {
    const Index line = s_.heads * s_.features, features = s_.features;
    slopes_.resize(weights_.size());
    for (Index first = 0; first < s_.queries; first += BLOCK) {
      const Index rows = std::min(BLOCK, s_.queries - first);
      const Index end = Scores(q, first, rows);
      const T* from = slope + first * line;
      Times(from, line, rows, features, values_across, end, slopes_.data(), wide_);
      for (Index r = 0; r < rows; ++r) {
        T* row = weights_.data() + r * wide_;
        Exponentials(row, end, spread[first + r]);
        const T mean = Dot(from + r * line, 1, 0, features, out + (first + r) * line);
        T* by = slopes_.data() + r * wide_;
        for (Index c = 0; c < end; ++c) by[c] = row[c] * (by[c] - mean);
      }
      T* to = by_q + first * line;
      Times(slopes_.data(), wide_, rows, end, keys, features, to, line);
      for (Index r = 0; r < rows; ++r)
        for (Index f = 0; f < features; ++f) to[r * line + f] *= scale_;
      // queries_ holds the scaled queries of this block.
      AddTransposed(slopes_.data(), wide_, end, queries_.data(), features, features,
                    rows, by_k, line_);
      AddTransposed(weights_.data(), wide_, end, from, line, features, rows, by_v,
                    line_);
    }
  }

 private:
  // Scores of a block of queries into weights_; how many keys they are about. Where a
  // query may not look, and up to whole vectors, it is -infinity.
  Index Scores(const T* q, Index first, Index rows) {
    const Index line = s_.heads * s_.features;
    for (Index r = 0; r < rows; ++r)
      for (Index f = 0; f < s_.features; ++f)
        queries_[r * s_.features + f] = q[(first + r) * line + f] * scale_;
    const Index end = s_.causal ? std::min(s_.keys, first + rows) : s_.keys;
    Times(queries_.data(), s_.features, rows, s_.features, keys_across_, end,
          weights_.data(), wide_);
    for (Index r = 0; r < rows; ++r) {
      const Index seen = s_.causal ? std::min(s_.keys, first + r + 1) : s_.keys;
      std::fill(weights_.data() + r * wide_ + seen,
                weights_.data() + r * wide_ + Whole(end),
                -std::numeric_limits<T>::infinity());
    }
    return end;
  }

  static Index Whole(Index columns) {
    constexpr Index WIDTH = Lanes<T>::WIDTH;
    return (columns + WIDTH - 1) / WIDTH * WIDTH;
  }

  static T Largest(const T* row, Index end) {
    Vector<T> most = Load(row);
    for (Index c = Lanes<T>::WIDTH; c < end; c += Lanes<T>::WIDTH) {
      const Vector<T> next = Load(row + c);
      most = next > most ? next : most;
    }
    return Fold<T>(most, [](T a, T b) { return b > a ? b : a; });
  }

  // row = exp(row - less); their sum.
  static T Exponentials(T* row, Index end, T less) {
    Vector<T> sums = {};
    for (Index c = 0; c < end; c += Lanes<T>::WIDTH) {
      const Vector<T> power = Exp(Load(row + c) - less);
      Store(row + c, power);
      sums += power;
    }
    return Sum<T>(sums);
  }

  const Sizes s_;
  const T scale_;
  const Index line_;  // from one key to the next
  const Index wide_;  // a row of scores: whole panels
  const Panels<T> keys_across_;
  Room<T> weights_, slopes_, queries_;
  T totals_[BLOCK];
};

template <typename T>
Panels<T> Along(const Sizes& s, const T* x) {
  return PanelsOf<T>({x, s.groups * s.features, 1}, s.keys, s.features);
}

template <typename T>
void Forward(ffi::ThreadPool pool, const Sizes& s, const T* q, const T* k, const T* v,
             T* out, T* spread) {
  ForEach(pool, s.batch * s.groups, [&](Index i) {
    const Index b = i / s.groups, g = i % s.groups, shared = s.heads / s.groups;
    const Index at = (b * s.keys * s.groups + g) * s.features;
    Head<T> head(s, k + at);
    const Panels<T> values = Along(s, v + at);
    for (Index h = g * shared; h < (g + 1) * shared; ++h) {
      const Index own = (b * s.queries * s.heads + h) * s.features;
      head.Forward(q + own, values, out + own, spread + (b * s.heads + h) * s.queries);
    }
  });
}

template <typename T>
void Backward(ffi::ThreadPool pool, const Sizes& s, const T* q, const T* k, const T* v,
              const T* out, const T* spread, const T* slope, T* by_q, T* by_k,
              T* by_v) {
  ForEach(pool, s.batch * s.groups, [&](Index i) {
    const Index b = i / s.groups, g = i % s.groups, shared = s.heads / s.groups;
    const Index line = s.groups * s.features;
    const Index at = (b * s.keys * s.groups + g) * s.features;
    for (Index key = 0; key < s.keys; ++key) {
      for (Index f = 0; f < s.features; f += Lanes<T>::WIDTH) {
        Store(by_k + at + key * line + f, Vector<T>{}, s.features - f);
        Store(by_v + at + key * line + f, Vector<T>{}, s.features - f);
      }
    }
    Head<T> head(s, k + at);
    const Panels<T> keys = Along(s, k + at);
    const Panels<T> values_across = PanelsOf<T>({v + at, 1, line}, s.features, s.keys);
    for (Index h = g * shared; h < (g + 1) * shared; ++h) {
      const Index own = (b * s.queries * s.heads + h) * s.features;
      head.Backward(q + own, keys, values_across, out + own,
                    spread + (b * s.heads + h) * s.queries, slope + own, by_q + own,
                    by_k + at, by_v + at);
    }
  });
}

Sizes SizesOf(ffi::AnyBuffer q, ffi::AnyBuffer k, bool causal) {
  const auto x = q.dimensions(), y = k.dimensions();
  return {x[0], x[1], y[1], x[2], y[2], x[3], causal};
}

ffi::Error ForwardCall(ffi::ThreadPool pool, ffi::AnyBuffer q, ffi::AnyBuffer k,
                       ffi::AnyBuffer v, ffi::Result<ffi::AnyBuffer> out,
                       ffi::Result<ffi::AnyBuffer> spread, bool causal) {
  return ByType(q, [&](auto zero) {
    using T = decltype(zero);
    Forward<T>(pool, SizesOf(q, k, causal), q.typed_data<T>(), k.typed_data<T>(),
               v.typed_data<T>(), out->typed_data<T>(), spread->typed_data<T>());
  });
}

ffi::Error BackwardCall(ffi::ThreadPool pool, ffi::AnyBuffer q, ffi::AnyBuffer k,
                        ffi::AnyBuffer v, ffi::AnyBuffer out, ffi::AnyBuffer spread,
                        ffi::AnyBuffer slope, ffi::Result<ffi::AnyBuffer> by_q,
                        ffi::Result<ffi::AnyBuffer> by_k,
                        ffi::Result<ffi::AnyBuffer> by_v, bool causal) {
  return ByType(q, [&](auto zero) {
    using T = decltype(zero);
    Backward<T>(pool, SizesOf(q, k, causal), q.typed_data<T>(), k.typed_data<T>(),
                v.typed_data<T>(), out.typed_data<T>(), spread.typed_data<T>(),
                slope.typed_data<T>(), by_q->typed_data<T>(), by_k->typed_data<T>(),
                by_v->typed_data<T>());
  });
}

}  // namespace
}  // namespace jaxdl

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_attention, jaxdl::ForwardCall,
                              (jaxdl::Signature<3, 2>().Attr<bool>("causal")));
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_attention_gradient, jaxdl::BackwardCall,
                              (jaxdl::Signature<6, 3>().Attr<bool>("causal")));
