// Layer normalisation of rows of features, and its gradients: a row stays in a core's
// cache from its mean to its result.

#include "tiles.h"

namespace jaxdl {
namespace {

struct Sizes {
  Index members, batch, places, features;

  Index Row() const { return places * features; }
  Index All() const { return members * batch * Row(); }
};

// Numbers for which it is worth to wake another thread.
constexpr Index WORTH_SHARING = 1 << 14;

template <typename T>
struct Center {
  T mean, factor;  // factor: 1 / sqrt(variance + epsilon)
};

// Calls each(c, count) for the first feature of each vector, and how many are left.
template <typename T, typename Each>
void Across(Index features, Each each) {
  constexpr Index W = Lanes<T>::WIDTH;
  Index c = 0;
  for (; c + W <= features; c += W) each(c, W);
  if (c < features) each(c, features - c);
}

// The first `count` lanes; zero in the others.
template <typename T>
Vector<T> First(Vector<T> x, Index count) {
  if (count < Lanes<T>::WIDTH)
    for (Index i = count; i < Lanes<T>::WIDTH; ++i) x[i] = 0;
  return x;
}

template <typename T>
Center<T> CenterOf(const T* row, Index features, T epsilon) {
  Vector<T> sums = {}, squares = {};
  Across<T>(features, [&](Index c, Index count) { sums += Load(row + c, count); });
  const T mean = Sum<T>(sums) / T(features);
  Across<T>(features, [&](Index c, Index count) {
    const Vector<T> apart = First<T>(Load(row + c, count) - mean, count);
    squares += apart * apart;
  });
  return {mean, T(1) / std::sqrt(Sum<T>(squares) / T(features) + epsilon)};
}

// Calls work(i) for each example.
template <typename Work>
void OverExamples(ffi::ThreadPool pool, const Sizes& s, Work work) {
  const Index count = s.members * s.batch;
  if (s.All() >= WORTH_SHARING) return ForEach(pool, count, work);
  for (Index i = 0; i < count; ++i) work(i);
}

template <typename T>
void Value(ffi::ThreadPool pool, const Sizes& s, const T* x, const T* scale,
           const T* bias, T* y, T epsilon) {
  OverExamples(pool, s, [&](Index i) {
    const T *by = scale + i / s.batch * s.features, *plus = bias + (by - scale);
    for (Index p = 0; p < s.places; ++p) {
      const Index at = i * s.Row() + p * s.features;
      const Center<T> center = CenterOf(x + at, s.features, epsilon);
      Across<T>(s.features, [&](Index c, Index count) {
        const Vector<T> normed = (Load(x + at + c, count) - center.mean) * center.factor;
        Store(y + at + c, Vector<T>(normed * Load(by + c, count) + Load(plus + c, count)),
              count);
      });
    }
  });
}

// By x, and of each example by the scale and by the bias.
template <typename T>
void Gradients(ffi::ThreadPool pool, const Sizes& s, const T* x, const T* scale,
               const T* slope, T* by_x, T* by_scale, T* by_bias, T epsilon) {
  OverExamples(pool, s, [&](Index i) {
    const T* by = scale + i / s.batch * s.features;
    T *scales = by_scale + i * s.features, *biases = by_bias + i * s.features;
    std::fill_n(scales, s.features, T(0));
    std::fill_n(biases, s.features, T(0));
    for (Index p = 0; p < s.places; ++p) {
      const Index at = i * s.Row() + p * s.features;
      const Center<T> center = CenterOf(x + at, s.features, epsilon);
      auto normed = [&](Index c, Index count) {
        return (Load(x + at + c, count) - center.mean) * center.factor;
      };
      Vector<T> slopes = {}, along = {};
      Across<T>(s.features, [&](Index c, Index count) {
        const Vector<T> own = Load(slope + at + c, count), z = normed(c, count);
        Store(biases + c, Vector<T>(Load(biases + c, count) + own), count);
        Store(scales + c, Vector<T>(Load(scales + c, count) + own * z), count);
        const Vector<T> inner = own * Load(by + c, count);
        slopes += inner;
        along += inner * z;
      });
      const T mean = Sum<T>(slopes) / T(s.features), part = Sum<T>(along) / T(s.features);
      Across<T>(s.features, [&](Index c, Index count) {
        const Vector<T> inner = Load(slope + at + c, count) * Load(by + c, count);
        Store(by_x + at + c,
              Vector<T>((inner - mean - normed(c, count) * part) * center.factor), count);
      });
    }
  });
}

Sizes SizesOf(ffi::AnyBuffer x) {
  const auto d = x.dimensions();
  return {d[0], d[1], d[2], d[3]};
}

ffi::Error ValueCall(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer scale,
                     ffi::AnyBuffer bias, ffi::Result<ffi::AnyBuffer> y,
                     double epsilon) {
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    Value<T>(pool, SizesOf(x), x.typed_data<T>(), scale.typed_data<T>(),
             bias.typed_data<T>(), y->typed_data<T>(), T(epsilon));
  });
}

ffi::Error GradientsCall(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer scale,
                         ffi::AnyBuffer slope, ffi::Result<ffi::AnyBuffer> by_x,
                         ffi::Result<ffi::AnyBuffer> by_scale,
                         ffi::Result<ffi::AnyBuffer> by_bias, double epsilon) {
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    Gradients<T>(pool, SizesOf(x), x.typed_data<T>(), scale.typed_data<T>(),
                 slope.typed_data<T>(), by_x->typed_data<T>(),
                 by_scale->typed_data<T>(), by_bias->typed_data<T>(), T(epsilon));
  });
}

}  // namespace
}  // namespace jaxdl

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_layer_norm, jaxdl::ValueCall,
                              (jaxdl::Signature<3, 1>().Attr<double>("epsilon")));
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_layer_norm_gradient, jaxdl::GradientsCall,
                              (jaxdl::Signature<3, 3>().Attr<double>("epsilon")));
