// One pass over all parameters of a network: the sums of its gradient's squares, and
// Adam (Kingma & Ba 2015). XLA makes a loop of its own of each array and each moment,
// through memory every time.
//
// Where there are members, every array leads with their axis. Sums are cut by shape
// alone, so that no result depends on the number of threads.

#include "tiles.h"

namespace jaxdl {
namespace {

// Numbers that are gone through at once, and from how many on a thread is woken for it.
constexpr Index PIECE = 1 << 13;
constexpr Index WORTH_SHARING = 1 << 16;

// What is done at once: numbers `first` to `first + count` of one member's array.
struct Piece {
  Index array, member, first, count;
};

std::vector<Piece> Cut(Index members, const std::vector<Index>& sizes) {
  std::vector<Piece> pieces;
  for (Index array = 0; array < Index(sizes.size()); ++array)
    for (Index member = 0; member < members; ++member)
      for (Index first = 0; first < sizes[array]; first += PIECE)
        pieces.push_back({array, member, member * sizes[array] + first,
                          std::min(PIECE, sizes[array] - first)});
  return pieces;
}

// Calls run(number of the piece); several pieces at once where they are small.
void ForPieces(ffi::ThreadPool pool, const std::vector<Piece>& pieces,
               const std::function<void(Index)>& run) {
  Index all = 0;
  for (const Piece& piece : pieces) all += piece.count;
  const Index count = pieces.size();
  const Index shares =
      all < WORTH_SHARING ? 1 : std::min(count, 4 * Index(pool.num_threads()));
  auto work = [&](Index share) {
    const Index end = count * (share + 1) / shares;
    for (Index i = count * share / shares; i < end; ++i) run(i);
  };
  if (shares > 1)
    ForEach(pool, shares, work);
  else
    work(0);
}

std::vector<Index> SizesOf(Index members, const std::vector<ffi::AnyBuffer>& arrays) {
  std::vector<Index> sizes;
  for (const ffi::AnyBuffer& array : arrays)
    sizes.push_back(members ? array.element_count() / members : 0);
  return sizes;
}

template <typename T>
T SquaresOf(const T* x, Index count, T factor) {
  constexpr Index W = Lanes<T>::WIDTH;
  Vector<T> sums[4] = {};
  Index i = 0;
  for (; i + 4 * W <= count; i += 4 * W)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const Vector<T> own = Load(x + i + k * W) * factor;
      sums[k] += own * own;
    }
  for (; i < count; i += W) {
    const Vector<T> own = Load(x + i, count - i) * factor;
    sums[0] += own * own;
  }
  return Sum<T>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// sums [members, arrays] of the squares of each array [members, ...] times its member's
// factor.
template <typename T>
void Squares(ffi::ThreadPool pool, const T* factors, Index members,
             const std::vector<ffi::AnyBuffer>& arrays, T* sums) {
  const auto pieces = Cut(members, SizesOf(members, arrays));
  std::vector<T> parts(pieces.size());
  ForPieces(pool, pieces, [&](Index i) {
    const Piece& own = pieces[i];
    parts[i] = SquaresOf(arrays[own.array].typed_data<T>() + own.first, own.count,
                         factors[own.member]);
  });
  const Index count = arrays.size();
  std::fill(sums, sums + members * count, T(0));
  for (Index i = 0; i < Index(pieces.size()); ++i)
    sums[pieces[i].member * count + pieces[i].array] += parts[i];
}

// What a member's update is told, in this order: what its gradient is multiplied by,
// whether it moves at all, both bias corrections, the rate and the decay.
template <typename T>
struct Numbers {
  T factor, moves, first, second, rate, decay;
};

struct Betas {
  double first, second, eps;
};

// Where an array lies: of its gradient, and of itself and its moments before and after,
// which may be the same place.
template <typename T>
struct Places {
  const T *slope, *own, *mean, *square;
  T *own_to, *mean_to, *square_to;

  Places From(Index i) const {
    return {slope + i,  own + i,     mean + i,     square + i,
            own_to + i, mean_to + i, square_to + i};
  }
};

inline __attribute__((always_inline)) Vector<float> Root(Vector<float> x) {
#if defined(__AVX512F__)
  return (Vector<float>)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX__)
  return (Vector<float>)_mm256_sqrt_ps((__m256)x);
#else
  for (Index i = 0; i < Lanes<float>::WIDTH; ++i) x[i] = std::sqrt(x[i]);
  return x;
#endif
}

inline Vector<double> Root(Vector<double> x) {
  for (Index i = 0; i < Lanes<double>::WIDTH; ++i) x[i] = std::sqrt(x[i]);
  return x;
}

template <typename T>
void Update(const Places<T>& at, Index count, const Betas& betas, const Numbers<T>& by,
            bool decays) {
  const T keep = betas.first, other = 1 - betas.first;
  const T keep_square = betas.second, other_square = 1 - betas.second;
  const T eps = betas.eps, unbiased = 1 / by.second, rate = by.rate / by.first;
  const T decay = decays ? by.rate * by.decay : T(0);
  for (Index i = 0; i < count; i += Lanes<T>::WIDTH) {
    const Places<T> here = at.From(i);
    const Index left = count - i;
    const Vector<T> slope = Load(here.slope, left) * by.factor;
    const Vector<T> own = Load(here.own, left);
    const Vector<T> mean = Load(here.mean, left) * keep + slope * other;
    const Vector<T> square =
        Load(here.square, left) * keep_square + slope * slope * other_square;
    const Vector<T> step = rate * mean / (Root(square * unbiased) + eps);
    Store(here.mean_to, mean, left);
    Store(here.square_to, square, left);
    Store(here.own_to, own - (step + decay * own), left);
  }
}

template <typename T>
void Stay(const Places<T>& at, Index count) {
  for (auto [to, from] : {std::pair(at.own_to, at.own), std::pair(at.mean_to, at.mean),
                          std::pair(at.square_to, at.square)})
    if (to != from) std::copy(from, from + count, to);
}

ffi::ErrorOr<std::vector<ffi::AnyBuffer>> Of(ffi::RemainingArgs given) {
  std::vector<ffi::AnyBuffer> arrays;
  for (size_t i = 0; i < given.size(); ++i) {
    auto array = given.get<ffi::AnyBuffer>(i);
    if (!array) return ffi::Unexpected(array.error());
    arrays.push_back(*array);
  }
  return arrays;
}

ffi::Error SquaresCall(ffi::ThreadPool pool, ffi::AnyBuffer factors,
                       ffi::RemainingArgs given, ffi::Result<ffi::AnyBuffer> sums) {
  const auto arrays = Of(given);
  if (!arrays) return arrays.error();
  return ByType(factors, [&](auto zero) {
    using T = decltype(zero);
    Squares<T>(pool, factors.typed_data<T>(), factors.element_count(), *arrays,
               sums->typed_data<T>());
  });
}

// Given are all slopes, then all parameters, then their means, then their squares;
// results are the last three.
ffi::Error AdamCall(ffi::ThreadPool pool, ffi::AnyBuffer numbers,
                    ffi::RemainingArgs given, ffi::RemainingRets results, double first,
                    double second, double eps, ffi::Span<const int64_t> decays) {
  const auto found = Of(given);
  if (!found) return found.error();
  const std::vector<ffi::AnyBuffer>& arrays = *found;
  std::vector<ffi::AnyBuffer> made;
  for (size_t i = 0; i < results.size(); ++i) {
    auto array = results.get<ffi::AnyBuffer>(i);
    if (!array) return array.error();
    made.push_back(**array);
  }
  return ByType(numbers, [&](auto zero) {
    using T = decltype(zero);
    const Index count = arrays.size() / 4;
    const Index members = numbers.element_count() * sizeof(T) / sizeof(Numbers<T>);
    const auto told = reinterpret_cast<const Numbers<T>*>(numbers.typed_data<T>());
    std::vector<Places<T>> places;
    for (Index i = 0; i < count; ++i) {
      auto from = [&](Index k) { return arrays[k * count + i].typed_data<T>(); };
      auto to = [&](Index k) { return made[k * count + i].typed_data<T>(); };
      places.push_back({from(0), from(1), from(2), from(3), to(0), to(1), to(2)});
    }
    const std::vector<ffi::AnyBuffer> own(arrays.begin() + count,
                                          arrays.begin() + 2 * count);
    const auto pieces = Cut(members, SizesOf(members, own));
    ForPieces(pool, pieces, [&](Index i) {
      const Piece& piece = pieces[i];
      const Places<T> at = places[piece.array].From(piece.first);
      if (told[piece.member].moves > 0)
        Update<T>(at, piece.count, {first, second, eps}, told[piece.member],
                  decays[piece.array]);
      else
        Stay<T>(at, piece.count);
    });
  });
}

}  // namespace
}  // namespace jaxdl

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_squares, jaxdl::SquaresCall,
                              jaxdl::ffi::Ffi::Bind()
                                  .Ctx<jaxdl::ffi::ThreadPool>()
                                  .Arg<jaxdl::ffi::AnyBuffer>()
                                  .RemainingArgs()
                                  .Ret<jaxdl::ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_adam, jaxdl::AdamCall,
                              jaxdl::ffi::Ffi::Bind()
                                  .Ctx<jaxdl::ffi::ThreadPool>()
                                  .Arg<jaxdl::ffi::AnyBuffer>()
                                  .RemainingArgs()
                                  .RemainingRets()
                                  .Attr<double>("first")
                                  .Attr<double>("second")
                                  .Attr<double>("eps")
                                  .Attr<jaxdl::ffi::Span<const int64_t>>("decays"));
