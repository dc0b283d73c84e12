// Maximum pooling over windows of 2 x 2 that do not overlap, channels last, and its
// gradient. XLA would compute what is pooled for each of the two again, and write the
// slopes of each place of the windows among zeros, and add.

#include "tiles.h"

namespace jaxdl {
namespace {

struct Sizes {
  Index images, height, width, channels, out_height, out_width;
};

// Of some channels of one window. Places are compared in row-major order, each with the
// largest before it; where both are equal they halve what remains.
template <typename T>
void Share(const T* x, Index line, Index step, Vector<T> slope, Index count, T* to) {
  const Index at[4] = {0, step, line, line + step};
  Vector<T> values[4], largest[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    values[i] = Load(x + at[i], count);
    largest[i] = values[i];
    if (i) largest[i] = values[i] > largest[i - 1] ? values[i] : largest[i - 1];
  }
#pragma GCC unroll 4
  for (int i = 3; i > 0; --i) {
    const Vector<T> half = values[i] == largest[i - 1] ? slope * T(0.5) : Vector<T>{};
    const Vector<T> own = values[i] > largest[i - 1] ? slope : half;
    Store(to + at[i], own, count);
    slope -= own;
  }
  Store(to, slope, count);
}

// Calls visit(from, to) for each window and each vector of channels: where its first
// place lies in the images, and where what is pooled. The last vector may begin among
// the channels of the one before, and find the same.
template <typename T, typename Visit>
void ForWindows(ffi::ThreadPool pool, const Sizes& s, Visit visit) {
  const Index step = s.channels, line = s.width * step;
  const Index last = std::max<Index>(step - Lanes<T>::WIDTH, 0);
  ForEach(pool, s.images, [&](Index i) {
    Index to = i * s.out_height * s.out_width * step;
    for (Index p = 0; p < s.out_height; ++p)
      for (Index q = 0; q < s.out_width; ++q, to += step) {
        const Index from = i * s.height * line + 2 * p * line + 2 * q * step;
        for (Index next = 0; next < step; next += Lanes<T>::WIDTH) {
          const Index c = std::min(next, last);
          visit(from + c, to + c);
        }
      }
  });
}

template <typename T>
void Forward(ffi::ThreadPool pool, const Sizes& s, const T* x, T* y) {
  const Index step = s.channels, line = s.width * step;
  ForWindows<T>(pool, s, [&](Index from, Index to) {
    Vector<T> most = Load(x + from, step);
    for (const Index at : {step, line, line + step}) {
      const Vector<T> next = Load(x + from + at, step);
      // What is not a number stays: it is not at most anything.
      most = next <= most ? most : most != most ? most : next;
    }
    Store(y + to, most, step);
  });
}

template <typename T>
void Gradient(ffi::ThreadPool pool, const Sizes& s, const T* x, const T* slope, T* to) {
  const Index step = s.channels, line = s.width * step, all = s.height * line;
  if (s.height != 2 * s.out_height || s.width != 2 * s.out_width)
    ForEach(pool, s.images, [&](Index i) { std::fill_n(to + i * all, all, T(0)); });
  ForWindows<T>(pool, s, [&](Index from, Index at) {
    Share(x + from, line, step, Load(slope + at, step), step, to + from);
  });
}

Sizes SizesOf(ffi::AnyBuffer::Dimensions x, ffi::AnyBuffer::Dimensions y) {
  return {x[0] * x[1], x[2], x[3], x[4], y[2], y[3]};
}

ffi::Error ForwardCall(ffi::ThreadPool pool, ffi::AnyBuffer x,
                       ffi::Result<ffi::AnyBuffer> y) {
  const Sizes s = SizesOf(x.dimensions(), y->dimensions());
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    Forward<T>(pool, s, x.typed_data<T>(), y->typed_data<T>());
  });
}

ffi::Error GradientCall(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer slope,
                        ffi::Result<ffi::AnyBuffer> to) {
  const Sizes s = SizesOf(x.dimensions(), slope.dimensions());
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    Gradient<T>(pool, s, x.typed_data<T>(), slope.typed_data<T>(), to->typed_data<T>());
  });
}

}  // namespace
}  // namespace jaxdl

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_pool, jaxdl::ForwardCall,
                              (jaxdl::Signature<1, 1>()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_pool_gradient, jaxdl::GradientCall,
                              (jaxdl::Signature<2, 1>()));
