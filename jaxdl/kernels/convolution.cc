// Two-dimensional convolution, channels last, for XLA on CPU: the value, the gradient
// by the input and the gradient by the kernel. Each is a direct product whose register
// tile is ROWS pixels (or weights) by up to COLUMNS channels; rows of a window lie
// together in memory (kernel width x channels), so that nothing is expanded.
//
// Every operand has a leading axis of members, each with an input and a kernel of its
// own. Work is cut by shape alone, so results don't depend on the number of threads.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;
using Index = std::ptrdiff_t;

namespace {

#if defined(__AVX512F__)
constexpr int BYTES = 64, ROWS = 12;
#elif defined(__AVX__)
constexpr int BYTES = 32, ROWS = 6;
#else
constexpr int BYTES = 16, ROWS = 6;
#endif
constexpr int VECTORS = 2;

template <typename T>
struct Lanes {
  typedef T Vector __attribute__((vector_size(BYTES), aligned(alignof(T)), may_alias));
  static constexpr Index WIDTH = BYTES / sizeof(T);
  static constexpr Index COLUMNS = WIDTH * VECTORS;
};

// Calls work(0) .. work(count - 1), on the caller and on whichever threads of XLA's
// pool are free. The caller waits only for work that has begun, so it cannot wait for
// itself where it is a thread of that pool.
class Shared {
 public:
  Shared(Index count, std::function<void(Index)> work)
      : count_(count), work_(std::move(work)) {}

  void Help() {
    for (Index i; (i = next_.fetch_add(1)) < count_;) {
      work_(i);
      if (done_.fetch_add(1) + 1 == count_) {
        std::lock_guard<std::mutex> lock(mutex_);
        finished_.notify_all();
      }
    }
  }

  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    finished_.wait(lock, [this] { return done_.load() == count_; });
  }

 private:
  const Index count_;
  std::function<void(Index)> work_;
  std::atomic<Index> next_{0}, done_{0};
  std::mutex mutex_;
  std::condition_variable finished_;
};

void ForEach(ffi::ThreadPool pool, Index count, std::function<void(Index)> work) {
  auto shared = std::make_shared<Shared>(count, std::move(work));
  const Index threads = std::min<Index>(pool.num_threads(), count);
  for (Index i = 1; i < threads; ++i) pool.Schedule([shared] { shared->Help(); });
  shared->Help();
  shared->Wait();
}

// How the window moves, and all sizes. Pads may be negative nowhere.
struct Shape {
  Index members, batch, height, width, inputs;    // of the images
  Index window_height, window_width, outputs;     // of the kernel
  Index out_height, out_width;                    // of the maps
  Index stride_y, stride_x, top, left;            // of the window
};

// rows[r] . weights, for `count` rows at once: each row is `lines` runs of `run`
// values, `line` apart. Writes `columns` values a row.
template <typename T, int R, int V>
void Tile(const T* const* rows, Index lines, Index line, Index run, const T* weights,
          T* const* out, Index columns) {
  using Vector = typename Lanes<T>::Vector;
  Vector sums[R][V] = {};
  for (Index k = 0; k < lines; ++k) {
    const T* at[R];
    for (int r = 0; r < R; ++r) at[r] = rows[r] + k * line;
    for (Index j = 0; j < run; ++j, weights += V * Lanes<T>::WIDTH) {
      Vector w[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v)
        w[v] = *reinterpret_cast<const Vector*>(weights + v * Lanes<T>::WIDTH);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const T value = at[r][j];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sums[r][v] += value * w[v];
      }
    }
  }
  if (columns == V * Lanes<T>::WIDTH) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v)
        *reinterpret_cast<Vector*>(out[r] + v * Lanes<T>::WIDTH) = sums[r][v];
    return;
  }
  for (int r = 0; r < R; ++r) std::memcpy(out[r], sums[r], columns * sizeof(T));
}

// A tile of any number of rows up to R.
template <typename T, int V, int R = ROWS>
void Rows(Index count, const T* const* rows, Index lines, Index line, Index run,
          const T* weights, T* const* out, Index columns) {
  if constexpr (R > 0) {
    if (count == R)
      Tile<T, R, V>(rows, lines, line, run, weights, out, columns);
    else
      Rows<T, V, R - 1>(count, rows, lines, line, run, weights, out, columns);
  }
}

// The vectors that a block of output channels is computed in.
template <typename T>
Index VectorsFor(Index columns) {
  return columns <= Lanes<T>::WIDTH ? 1 : VECTORS;
}

// [height, width, channels] with zeros around it; the image itself if there are none.
template <typename T>
const T* Padded(const T* image, Index height, Index width, Index channels, Index top,
                Index bottom, Index left, Index right, std::vector<T>& room) {
  if (!top && !bottom && !left && !right) return image;
  const Index across = (left + width + right) * channels;
  room.assign((top + height + bottom) * across, T(0));
  for (Index y = 0; y < height; ++y)
    std::copy_n(image + y * width * channels, width * channels,
                room.data() + (top + y) * across + left * channels);
  return room.data();
}

// A convolution of stride one or more, as a product: which pixels, which weights.
template <typename T>
struct Product {
  Index lines, run, outputs;
  std::vector<T> weights;  // a block of channels after another, padded with zeros

  // value(line, place of the run, output channel)
  template <typename Value>
  Product(Index lines, Index run, Index outputs, Value value)
      : lines(lines), run(run), outputs(outputs) {
    weights.reserve(lines * run * (outputs + Lanes<T>::COLUMNS));
    for (Index first = 0; first < outputs; first += Lanes<T>::COLUMNS) {
      const Index columns = std::min(outputs - first, Lanes<T>::COLUMNS);
      const Index whole = VectorsFor<T>(columns) * Lanes<T>::WIDTH;
      for (Index k = 0; k < lines; ++k)
        for (Index j = 0; j < run; ++j)
          for (Index c = 0; c < whole; ++c)
            weights.push_back(c < columns ? value(k, j, first + c) : T(0));
    }
  }

  // Output (y, x) of [height, width] sees from[y * step_y + x * step_x] on, and is
  // written to to[y * to_y + x * to_x].
  void Run(const T* from, Index line, Index step_y, Index step_x, T* to, Index to_y,
           Index to_x, Index height, Index width) const {
    const T* at = weights.data();
    for (Index first = 0; first < outputs; first += Lanes<T>::COLUMNS) {
      const Index columns = std::min(outputs - first, Lanes<T>::COLUMNS);
      const Index vectors = VectorsFor<T>(columns);
      const Index pixels = height * width;
      Index y = 0, x = 0;
      for (Index pixel = 0; pixel < pixels; pixel += ROWS) {
        const Index count = std::min<Index>(ROWS, pixels - pixel);
        const T* rows[ROWS];
        T* out[ROWS];
        for (Index r = 0; r < count; ++r) {
          rows[r] = from + y * step_y + x * step_x;
          out[r] = to + y * to_y + x * to_x + first;
          if (++x == width) x = 0, ++y;
        }
        if (vectors == 1)
          Rows<T, 1>(count, rows, lines, line, run, at, out, columns);
        else
          Rows<T, VECTORS>(count, rows, lines, line, run, at, out, columns);
      }
      at += lines * run * vectors * Lanes<T>::WIDTH;
    }
  }
};

template <typename T>
void Forward(ffi::ThreadPool pool, const Shape& s, const T* x, const T* kernel, T* y) {
  const Index run = s.window_width * s.inputs;
  const Index weights = s.window_height * run * s.outputs;
  const Index bottom =
      std::max<Index>(0, (s.out_height - 1) * s.stride_y + s.window_height - s.top -
                             s.height);
  const Index right = std::max<Index>(
      0, (s.out_width - 1) * s.stride_x + s.window_width - s.left - s.width);
  const Index line = (s.left + s.width + right) * s.inputs;
  std::vector<Product<T>> products;
  for (Index m = 0; m < s.members; ++m)
    products.emplace_back(s.window_height, run, s.outputs,
                          [&](Index k, Index j, Index o) {
                            return kernel[m * weights + (k * run + j) * s.outputs + o];
                          });
  ForEach(pool, s.members * s.batch, [&](Index i) {
    static thread_local std::vector<T> room;
    const T* image =
        Padded(x + i * s.height * s.width * s.inputs, s.height, s.width, s.inputs,
               s.top, bottom, s.left, right, room);
    products[i / s.batch].Run(image, line, s.stride_y * line, s.stride_x * s.inputs,
                              y + i * s.out_height * s.out_width * s.outputs,
                              s.out_width * s.outputs, s.outputs, s.out_height,
                              s.out_width);
  });
}

// The part of one axis of an input gradient whose places are `first`, `first` +
// stride, ..: each sees the same `taps` weights, every stride-th from `phase` on.
struct Phase {
  Index first, count, phase, taps, start;

  Phase(Index first, Index size, Index window, Index stride, Index pad, Index before)
      : first(first),
        count(first < size ? (size - first - 1) / stride + 1 : 0),
        phase((first + pad) % stride),
        taps(phase < window ? (window - phase - 1) / stride + 1 : 0),
        // The first map seen: the last tap's, in maps padded by `before`.
        start((first + pad) / stride - std::max<Index>(taps - 1, 0) + before) {}

  Index Weight(Index tap, Index stride) const {
    return phase + stride * (taps - 1 - tap);
  }
};

template <typename T>
void InputGradient(ffi::ThreadPool pool, const Shape& s, const T* slope,
                   const T* kernel, T* x) {
  const Index top = (s.window_height + s.stride_y - 1) / s.stride_y - 1;
  const Index left = (s.window_width + s.stride_x - 1) / s.stride_x - 1;
  const Index bottom =
      std::max<Index>(0, (s.height - 1 + s.top) / s.stride_y + 1 - s.out_height);
  const Index right =
      std::max<Index>(0, (s.width - 1 + s.left) / s.stride_x + 1 - s.out_width);
  const Index line = (left + s.out_width + right) * s.outputs;
  struct Part {
    Phase y, x;
    Product<T> product;
  };
  std::vector<std::vector<Part>> parts(s.members);
  for (Index m = 0; m < s.members; ++m) {
    const T* own =
        kernel + m * s.window_height * s.window_width * s.inputs * s.outputs;
    for (Index i = 0; i < s.stride_y; ++i)
      for (Index j = 0; j < s.stride_x; ++j) {
        const Phase py(i, s.height, s.window_height, s.stride_y, s.top, top);
        const Phase px(j, s.width, s.window_width, s.stride_x, s.left, left);
        const bool seen = py.taps && px.taps;
        parts[m].push_back(
            {py, px,
             Product<T>(seen ? py.taps : 0, px.taps * s.outputs, s.inputs,
                        [&](Index k, Index at, Index c) {
                          const Index row = py.Weight(k, s.stride_y);
                          const Index column = px.Weight(at / s.outputs, s.stride_x);
                          const Index place = row * s.window_width + column;
                          return own[(place * s.inputs + c) * s.outputs +
                                     at % s.outputs];
                        })});
      }
  }
  ForEach(pool, s.members * s.batch, [&](Index i) {
    static thread_local std::vector<T> room;
    const T* maps = Padded(slope + i * s.out_height * s.out_width * s.outputs,
                           s.out_height, s.out_width, s.outputs, top, bottom, left,
                           right, room);
    T* to = x + i * s.height * s.width * s.inputs;
    const Index across = s.width * s.inputs;
    for (const Part& p : parts[i / s.batch])
      p.product.Run(maps + p.y.start * line + p.x.start * s.outputs, line, line,
                    s.outputs, to + p.y.first * across + p.x.first * s.inputs,
                    s.stride_y * across, s.stride_x * s.inputs, p.y.count, p.x.count);
  });
}

// Adds to R rows of weights what `height` lines of `width` pixels give them: pixel
// values x[r] times the slopes of `columns` channels.
template <typename T, int R, int V>
void Outer(const T* x, Index x_line, Index x_step, const T* slope, Index slope_line,
           Index slope_step, Index height, Index width, T* sums, Index stride,
           Index columns) {
  using Vector = typename Lanes<T>::Vector;
  Vector total[R][V] = {};
  const Index whole = V * Lanes<T>::WIDTH;
  for (Index y = 0; y < height; ++y) {
    const T* from = x + y * x_line;
    const T* by = slope + y * slope_line;
    for (Index i = 0; i < width; ++i, from += x_step, by += slope_step) {
      Vector g[V];
      if (columns == whole) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v)
          g[v] = *reinterpret_cast<const Vector*>(by + v * Lanes<T>::WIDTH);
      } else {
        T padded[V * Lanes<T>::WIDTH] = {};
        for (Index c = 0; c < columns; ++c) padded[c] = by[c];
        std::memcpy(g, padded, sizeof(g));
      }
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const T value = from[r];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) total[r][v] += value * g[v];
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (Index c = 0; c < columns; ++c)
      sums[r * stride + c] += reinterpret_cast<const T*>(total[r])[c];
}

template <typename T, int V, int R = ROWS, typename... Rest>
void OuterRows(Index count, Rest... rest) {
  if constexpr (R > 0) {
    if (count == R)
      Outer<T, R, V>(rest...);
    else
      OuterRows<T, V, R - 1>(count, rest...);
  }
}

// Adds what one image gives to the kernel's gradient, a few lines at a time, so that
// they stay in the nearest cache.
template <typename T>
void KernelGradientOf(const Shape& s, const T* image, Index line, const T* slope,
                      T* sums) {
  constexpr Index CACHE = 24 * 1024 / sizeof(T);
  const Index run = s.window_width * s.inputs;
  const Index slope_line = s.out_width * s.outputs;
  const Index each = s.stride_y * line + slope_line;
  const Index lines = std::max<Index>(
      1, (CACHE - (s.window_height - s.stride_y) * line) / std::max<Index>(each, 1));
  for (Index y = 0; y < s.out_height; y += lines) {
    const Index height = std::min(lines, s.out_height - y);
    for (Index k = 0; k < s.window_height; ++k)
      for (Index first = 0; first < s.outputs; first += Lanes<T>::COLUMNS) {
        const Index columns = std::min(s.outputs - first, Lanes<T>::COLUMNS);
        for (Index j = 0; j < run; j += ROWS) {
          const Index count = std::min<Index>(ROWS, run - j);
          const T* from = image + (y * s.stride_y + k) * line + j;
          const T* by = slope + y * slope_line + first;
          T* to = sums + (k * run + j) * s.outputs + first;
          auto add = [&](auto vectors) {
            OuterRows<T, decltype(vectors)::value>(
                count, from, s.stride_y * line, s.stride_x * s.inputs, by, slope_line,
                s.outputs, height, s.out_width, to, s.outputs, columns);
          };
          if (VectorsFor<T>(columns) == 1)
            add(std::integral_constant<int, 1>{});
          else
            add(std::integral_constant<int, VECTORS>{});
        }
      }
  }
}

template <typename T>
void KernelGradient(ffi::ThreadPool pool, const Shape& s, const T* x, const T* slope,
                    T* kernel) {
  const Index weights = s.window_height * s.window_width * s.inputs * s.outputs;
  const Index bottom =
      std::max<Index>(0, (s.out_height - 1) * s.stride_y + s.window_height - s.top -
                             s.height);
  const Index right = std::max<Index>(
      0, (s.out_width - 1) * s.stride_x + s.window_width - s.left - s.width);
  const Index line = (s.left + s.width + right) * s.inputs;
  // Images are summed in a few parts, each in a room of its own; by shape alone.
  constexpr Index ROOM = 16 << 20;
  const Index wanted = ROOM / std::max<Index>(1, weights * sizeof(T));
  const Index parts = std::min(s.batch, std::clamp<Index>(wanted, 2, 8));
  std::vector<T> sums(s.members * parts * weights, T(0));
  ForEach(pool, s.members * parts, [&](Index part) {
    static thread_local std::vector<T> room;
    const Index member = part / parts, own = part % parts;
    for (Index n = s.batch * own / parts; n < s.batch * (own + 1) / parts; ++n) {
      const Index i = member * s.batch + n;
      const T* image =
          Padded(x + i * s.height * s.width * s.inputs, s.height, s.width, s.inputs,
                 s.top, bottom, s.left, right, room);
      KernelGradientOf(s, image, line,
                       slope + i * s.out_height * s.out_width * s.outputs,
                       sums.data() + part * weights);
    }
  });
  for (Index m = 0; m < s.members; ++m)
    for (Index w = 0; w < weights; ++w) {
      T total = 0;
      for (Index p = 0; p < parts; ++p) total += sums[(m * parts + p) * weights + w];
      kernel[m * weights + w] = total;
    }
}

Shape ShapeOf(ffi::AnyBuffer::Dimensions x, ffi::AnyBuffer::Dimensions kernel,
              ffi::AnyBuffer::Dimensions y, ffi::Span<const int64_t> window) {
  return {x[0],      x[1],      x[2], x[3],      x[4],      kernel[1], kernel[2],
          kernel[4], y[2],      y[3], window[0], window[1], window[2], window[3]};
}

// Calls run<float> or run<double> with the three buffers' data.
template <typename Run>
ffi::Error ByType(ffi::AnyBuffer a, Run run) {
  if (a.element_type() == ffi::F32)
    run(float{});
  else if (a.element_type() == ffi::F64)
    run(double{});
  else
    return ffi::Error::InvalidArgument("a convolution of float32 or float64");
  return ffi::Error::Success();
}

ffi::Error ForwardCall(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer kernel,
                       ffi::Result<ffi::AnyBuffer> y, ffi::Span<const int64_t> window) {
  const Shape s =
      ShapeOf(x.dimensions(), kernel.dimensions(), y->dimensions(), window);
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    Forward<T>(pool, s, x.typed_data<T>(), kernel.typed_data<T>(), y->typed_data<T>());
  });
}

ffi::Error InputGradientCall(ffi::ThreadPool pool, ffi::AnyBuffer slope,
                             ffi::AnyBuffer kernel, ffi::Result<ffi::AnyBuffer> x,
                             ffi::Span<const int64_t> window) {
  const Shape s =
      ShapeOf(x->dimensions(), kernel.dimensions(), slope.dimensions(), window);
  return ByType(slope, [&](auto zero) {
    using T = decltype(zero);
    InputGradient<T>(pool, s, slope.typed_data<T>(), kernel.typed_data<T>(),
                     x->typed_data<T>());
  });
}

ffi::Error KernelGradientCall(ffi::ThreadPool pool, ffi::AnyBuffer x,
                              ffi::AnyBuffer slope, ffi::Result<ffi::AnyBuffer> kernel,
                              ffi::Span<const int64_t> window) {
  const Shape s =
      ShapeOf(x.dimensions(), kernel->dimensions(), slope.dimensions(), window);
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    KernelGradient<T>(pool, s, x.typed_data<T>(), slope.typed_data<T>(),
                      kernel->typed_data<T>());
  });
}

auto Signature() {
  return ffi::Ffi::Bind()
      .Ctx<ffi::ThreadPool>()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Ret<ffi::AnyBuffer>()
      .Attr<ffi::Span<const int64_t>>("window");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_forward, ForwardCall, Signature());
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_input_gradient, InputGradientCall, Signature());
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_kernel_gradient, KernelGradientCall, Signature());
