// Two-dimensional convolution, channels last, for XLA on CPU: the value, the gradient
// by the input and the gradient by the kernel. Each is a direct product whose register
// tile is ROWS pixels (or weights) by up to COLUMNS channels; rows of a window lie
// together in memory (kernel width x channels), so that nothing is expanded.
//
// Every operand has a leading axis of members, each with an input and a kernel of its
// own.

#include "tiles.h"

namespace jaxdl {
namespace {

// How the window moves, and all sizes. Pads may be negative nowhere.
struct Shape {
  Index members, batch, height, width, inputs;    // of the images
  Index window_height, window_width, outputs;     // of the kernel
  Index out_height, out_width;                    // of the maps
  Index stride_y, stride_x, top, left;            // of the window
};

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

// Whether lanes are filled better by the values of a window's line than by outputs.
template <typename T>
bool IsNarrow(Index run, Index outputs) {
  return outputs <= 4 && run >= Lanes<T>::WIDTH;
}

// A convolution of stride one or more, as a product: which pixels, which weights.
template <typename T>
struct Product {
  Index lines, run, outputs;
  bool narrow;
  Panels<T> weights;  // where it is narrow: by output, as they lie in a window

  // value(line, place of the run, output channel)
  template <typename Value>
  Product(Index lines, Index run, Index outputs, Value value)
      : lines(lines), run(run), outputs(outputs), narrow(IsNarrow<T>(run, outputs)),
        weights(narrow ? 0 : lines * run, outputs, [&](Index row, Index column) {
          return value(row / run, row % run, column);
        }) {
    for (Index i = 0; narrow && i < outputs * lines * run; ++i)
      weights.data.push_back(value(i / run % lines, i % run, i / (lines * run)));
  }

  // Output (y, x) of [height, width] sees from[y * step_y + x * step_x] on, and is
  // written to to[y * to_y + x * to_x]. Bias is added to it, if there is any.
  void Run(const T* from, Index line, Index step_y, Index step_x, T* to, Index to_y,
           Index to_x, Index height, Index width, const T* bias = nullptr) const {
    const T* at = weights.data.data();
    for (Index y = 0; narrow && y < height; ++y)
      for (Index x = 0; x < width; ++x)
        for (Index o = 0; o < outputs; ++o)
          to[y * to_y + x * to_x + o] =
              (bias ? bias[o] : 0) + Dot(from + y * step_y + x * step_x, lines, line,
                                         run, at + o * lines * run);
    if (narrow) return;
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
        const T* start = bias ? bias + first : nullptr;
        if (vectors == 1)
          Rows<T, 1>(count, rows, lines, line, run, at, out, columns, start);
        else
          Rows<T, VECTORS>(count, rows, lines, line, run, at, out, columns, start);
      }
      at += lines * run * vectors * Lanes<T>::WIDTH;
    }
  }
};

template <typename T>
void Forward(ffi::ThreadPool pool, const Shape& s, const T* x, const T* kernel,
             const T* bias, T* y) {
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
                              s.out_width,
                              bias ? bias + i / s.batch * s.outputs : nullptr);
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

// Adds what one image gives to the kernel's gradient, a few lines at a time: few enough
// to stay in the nearest cache, and so many that sums are seldom fetched. Of a narrow
// kernel `sums` are [line, output, place].
template <typename T>
void KernelGradientOf(const Shape& s, const T* image, Index line, const T* slope,
                      T* sums) {
  constexpr Index CACHE = 24 * 1024 / sizeof(T), PIXELS = 64;
  const Index run = s.window_width * s.inputs;
  const Index slope_line = s.out_width * s.outputs;
  const Index x_line = s.stride_y * line, x_step = s.stride_x * s.inputs;
  const Index near = (CACHE - (s.window_height - s.stride_y) * line) /
                     std::max<Index>(x_line + slope_line, 1);
  const Index lines = std::max(near, PIXELS / std::max<Index>(s.out_width, 1) + 1);
  for (Index y = 0; y < s.out_height; y += lines) {
    const Index height = std::min(lines, s.out_height - y);
    for (Index k = 0; k < s.window_height; ++k) {
      const T* x = image + (y * s.stride_y + k) * line;
      const T* by = slope + y * slope_line;
      T* to = sums + k * run * s.outputs;
      if (IsNarrow<T>(run, s.outputs))
        AddProducts(by, slope_line, s.outputs, s.outputs, x, x_line, x_step, run,
                    height, s.out_width, to, run);
      else
        AddProducts(x, x_line, x_step, run, by, slope_line, s.outputs, s.outputs,
                    height, s.out_width, to, s.outputs);
    }
  }
}

// Adds to `sums`, channel by channel, the slopes of an image.
template <typename T>
void AddPixels(const Shape& s, const T* slope, T* sums) {
  for (Index o = 0; o < s.outputs; o += Lanes<T>::WIDTH) {
    const Index count = s.outputs - o;
    const Vector<T> sum = SumOver<T>(s.out_height * s.out_width, [&](Index pixel) {
      return Load(slope + pixel * s.outputs + o, count);
    });
    Store(sums + o, Vector<T>(Load(sums + o, count) + sum), count);
  }
}

// And the bias's, if it is wanted: its sums stand behind those of a part's kernel.
template <typename T>
void KernelGradient(ffi::ThreadPool pool, const Shape& s, const T* x, const T* slope,
                    T* kernel, T* bias) {
  const Index weights = s.window_height * s.window_width * s.inputs * s.outputs;
  const Index bottom =
      std::max<Index>(0, (s.out_height - 1) * s.stride_y + s.window_height - s.top -
                             s.height);
  const Index right = std::max<Index>(
      0, (s.out_width - 1) * s.stride_x + s.window_width - s.left - s.width);
  const Index line = (s.left + s.width + right) * s.inputs;
  const Index run = s.window_width * s.inputs;
  const bool narrow = IsNarrow<T>(run, s.outputs);
  // Images are summed in a few parts, each in a room of its own; by shape alone.
  constexpr Index ROOM = 16 << 20;
  const Index wanted = ROOM / std::max<Index>(1, weights * sizeof(T));
  const Index parts = std::min(s.batch, std::clamp<Index>(wanted, 2, 8));
  const Index both = weights + (bias ? s.outputs : 0);
  std::vector<T> sums(s.members * parts * both, T(0));
  ForEach(pool, s.members * parts, [&](Index part) {
    static thread_local std::vector<T> room;
    const Index member = part / parts, own = part % parts;
    for (Index n = s.batch * own / parts; n < s.batch * (own + 1) / parts; ++n) {
      const Index i = member * s.batch + n;
      const T* image =
          Padded(x + i * s.height * s.width * s.inputs, s.height, s.width, s.inputs,
                 s.top, bottom, s.left, right, room);
      const T* own_slope = slope + i * s.out_height * s.out_width * s.outputs;
      T* const to = sums.data() + part * both;
      KernelGradientOf(s, image, line, own_slope, to);
      if (bias) AddPixels(s, own_slope, to + weights);
    }
  });
  auto total = [&](Index member, Index place) {
    T sum = 0;
    for (Index p = 0; p < parts; ++p) sum += sums[(member * parts + p) * both + place];
    return sum;
  };
  for (Index m = 0; m < s.members; ++m) {
    for (Index w = 0; w < weights; ++w) {
      const Index o = w % s.outputs, j = w / s.outputs % run, k = w / s.outputs / run;
      kernel[m * weights + w] = total(m, narrow ? (k * s.outputs + o) * run + j : w);
    }
    for (Index o = 0; bias && o < s.outputs; ++o)
      bias[m * s.outputs + o] = total(m, weights + o);
  }
}

Shape ShapeOf(ffi::AnyBuffer::Dimensions x, ffi::AnyBuffer::Dimensions kernel,
              ffi::AnyBuffer::Dimensions y, ffi::Span<const int64_t> window) {
  return {x[0],      x[1],      x[2], x[3],      x[4],      kernel[1], kernel[2],
          kernel[4], y[2],      y[3], window[0], window[1], window[2], window[3]};
}

ffi::Error Value(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer kernel,
                 const ffi::AnyBuffer* bias, ffi::Result<ffi::AnyBuffer> y,
                 ffi::Span<const int64_t> window) {
  const Shape s =
      ShapeOf(x.dimensions(), kernel.dimensions(), y->dimensions(), window);
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    Forward<T>(pool, s, x.typed_data<T>(), kernel.typed_data<T>(),
               bias ? bias->typed_data<T>() : nullptr, y->typed_data<T>());
  });
}

ffi::Error ForwardCall(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer kernel,
                       ffi::Result<ffi::AnyBuffer> y, ffi::Span<const int64_t> window) {
  return Value(pool, x, kernel, nullptr, y, window);
}

ffi::Error ForwardWithBiasCall(ffi::ThreadPool pool, ffi::AnyBuffer x,
                               ffi::AnyBuffer kernel, ffi::AnyBuffer bias,
                               ffi::Result<ffi::AnyBuffer> y,
                               ffi::Span<const int64_t> window) {
  return Value(pool, x, kernel, &bias, y, window);
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

ffi::Error ByKernel(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer slope,
                    ffi::Result<ffi::AnyBuffer> kernel,
                    ffi::Result<ffi::AnyBuffer>* bias,
                    ffi::Span<const int64_t> window) {
  const Shape s =
      ShapeOf(x.dimensions(), kernel->dimensions(), slope.dimensions(), window);
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    KernelGradient<T>(pool, s, x.typed_data<T>(), slope.typed_data<T>(),
                      kernel->typed_data<T>(),
                      bias ? (*bias)->typed_data<T>() : nullptr);
  });
}

ffi::Error KernelGradientCall(ffi::ThreadPool pool, ffi::AnyBuffer x,
                              ffi::AnyBuffer slope, ffi::Result<ffi::AnyBuffer> kernel,
                              ffi::Span<const int64_t> window) {
  return ByKernel(pool, x, slope, kernel, nullptr, window);
}

ffi::Error KernelGradientWithBiasCall(ffi::ThreadPool pool, ffi::AnyBuffer x,
                                      ffi::AnyBuffer slope,
                                      ffi::Result<ffi::AnyBuffer> kernel,
                                      ffi::Result<ffi::AnyBuffer> bias,
                                      ffi::Span<const int64_t> window) {
  return ByKernel(pool, x, slope, kernel, &bias, window);
}

template <int ARGUMENTS = 2, int RESULTS = 1>
auto Windowed() {
  return Signature<ARGUMENTS, RESULTS>().template Attr<ffi::Span<const int64_t>>("window");
}

}  // namespace
}  // namespace jaxdl

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_forward, jaxdl::ForwardCall, jaxdl::Windowed());
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_forward_with_bias, jaxdl::ForwardWithBiasCall,
                              jaxdl::Windowed<3>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_input_gradient, jaxdl::InputGradientCall,
                              jaxdl::Windowed());
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_kernel_gradient, jaxdl::KernelGradientCall,
                              jaxdl::Windowed());
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_kernel_gradient_with_bias,
                              jaxdl::KernelGradientWithBiasCall,
                              (jaxdl::Windowed<2, 2>()));
