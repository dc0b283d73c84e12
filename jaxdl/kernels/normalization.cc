// Sums over the places of each example, channel by channel, of batch normalisation:
// those of its moments, and those of its gradient. An example that is read a second time
// lies in a core's cache.

#include "tiles.h"

namespace jaxdl {
namespace {

struct Sizes {
  Index members, batch, places, channels;
};

// Of each example the mean, and the sum of squares around it.
template <typename T>
void Moments(ffi::ThreadPool pool, const Sizes& s, const T* x, T* means, T* squares) {
  ForEach(pool, s.members * s.batch, [&](Index i) {
    const T* example = x + i * s.places * s.channels;
    for (Index c = 0; c < s.channels; c += Lanes<T>::WIDTH) {
      const Index count = s.channels - c, to = i * s.channels + c;
      auto at = [&](Index place) { return Load(example + place * s.channels + c, count); };
      const Vector<T> mean = SumOver<T>(s.places, at) / T(s.places);
      const Vector<T> square = SumOver<T>(s.places, [&](Index place) {
        const Vector<T> apart = at(place) - mean;
        return apart * apart;
      });
      Store(means + to, mean, count);
      Store(squares + to, square, count);
    }
  });
}

// Of each example the sum of its slopes, and of slopes times x - center [members,
// channels].
template <typename T>
void Slopes(ffi::ThreadPool pool, const Sizes& s, const T* x, const T* slope,
            const T* centers, T* sums, T* products) {
  ForEach(pool, s.members * s.batch, [&](Index i) {
    const Index first = i * s.places * s.channels;
    for (Index c = 0; c < s.channels; c += Lanes<T>::WIDTH) {
      const Index count = s.channels - c, to = i * s.channels + c;
      const Vector<T> center = Load(centers + i / s.batch * s.channels + c, count);
      Vector<T> total = {}, further = {};
      const Vector<T> product = SumOver<T>(s.places, [&](Index place) {
        const Index at = first + place * s.channels + c;
        const Vector<T> own = Load(slope + at, count);
        (place % 2 ? total : further) += own;
        return own * (Load(x + at, count) - center);
      });
      Store(sums + to, total + further, count);
      Store(products + to, product, count);
    }
  });
}

Sizes SizesOf(ffi::AnyBuffer x) {
  const auto d = x.dimensions();
  return {d[0], d[1], d[2], d[3]};
}

ffi::Error MomentsCall(ffi::ThreadPool pool, ffi::AnyBuffer x,
                       ffi::Result<ffi::AnyBuffer> means,
                       ffi::Result<ffi::AnyBuffer> squares) {
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    Moments<T>(pool, SizesOf(x), x.typed_data<T>(), means->typed_data<T>(),
               squares->typed_data<T>());
  });
}

ffi::Error SlopesCall(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer slope,
                      ffi::AnyBuffer centers, ffi::Result<ffi::AnyBuffer> sums,
                      ffi::Result<ffi::AnyBuffer> products) {
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    Slopes<T>(pool, SizesOf(x), x.typed_data<T>(), slope.typed_data<T>(),
              centers.typed_data<T>(), sums->typed_data<T>(), products->typed_data<T>());
  });
}

}  // namespace
}  // namespace jaxdl

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_moments, jaxdl::MomentsCall,
                              (jaxdl::Signature<1, 2>()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_slopes, jaxdl::SlopesCall,
                              (jaxdl::Signature<3, 2>()));
