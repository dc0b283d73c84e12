// The gradient of maximum pooling over windows of 2 x 2 that do not overlap, channels
// last. XLA would write the slopes of each place of the windows among zeros, and add.

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

template <typename T>
void Gradient(ffi::ThreadPool pool, const Sizes& s, const T* x, const T* slope, T* to) {
  const Index step = s.channels, line = s.width * step, each = s.height * line;
  const bool odd = s.height != 2 * s.out_height || s.width != 2 * s.out_width;
  ForEach(pool, s.images, [&](Index i) {
    if (odd) std::fill_n(to + i * each, each, T(0));
    const T* from = slope + i * s.out_height * s.out_width * step;
    for (Index p = 0; p < s.out_height; ++p)
      for (Index q = 0; q < s.out_width; ++q, from += step)
        for (Index next = 0; next < step; next += Lanes<T>::WIDTH) {
          // The last vector may begin among the channels of the one before, and find
          // the same.
          const Index c =
              std::max<Index>(std::min(next, step - Lanes<T>::WIDTH), 0);
          const Index at = i * each + 2 * p * line + 2 * q * step + c;
          Share(x + at, line, step, Load(from + c, step - c), step - c, to + at);
        }
  });
}

ffi::Error Call(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer slope,
                ffi::Result<ffi::AnyBuffer> to) {
  const auto in = x.dimensions(), out = slope.dimensions();
  const Sizes s = {in[0] * in[1], in[2], in[3], in[4], out[2], out[3]};
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    Gradient<T>(pool, s, x.typed_data<T>(), slope.typed_data<T>(), to->typed_data<T>());
  });
}

}  // namespace
}  // namespace jaxdl

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_pool_gradient, jaxdl::Call,
                              (jaxdl::Signature<2, 1>()));
