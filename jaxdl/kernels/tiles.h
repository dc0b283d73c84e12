// What the kernels share: tiles of registers, threads, and types of numbers.
//
// A register tile is ROWS rows by up to COLUMNS columns of a product. Work is cut by
// shape alone, so results don't depend on the number of threads.

#ifndef JAXDL_TILES_H_
#define JAXDL_TILES_H_

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#include "xla/ffi/api/ffi.h"

namespace jaxdl {

namespace ffi = xla::ffi;
using Index = std::ptrdiff_t;

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

  // To be woken takes longer than most of what is waited for: 20 microseconds and more.
  void Wait() {
    for (int i = 0; i < PATIENCE; ++i) {
      if (done_.load() == count_) return;
      Pause();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    finished_.wait(lock, [this] { return done_.load() == count_; });
  }

 private:
  static constexpr int PATIENCE = 2000;

  static void Pause() {
#if defined(__AVX__)
    _mm_pause();
#endif
  }

  const Index count_;
  std::function<void(Index)> work_;
  std::atomic<Index> next_{0}, done_{0};
  std::mutex mutex_;
  std::condition_variable finished_;
};

inline void ForEach(ffi::ThreadPool pool, Index count, std::function<void(Index)> work) {
  auto shared = std::make_shared<Shared>(count, std::move(work));
  const Index threads = std::min<Index>(pool.num_threads(), count);
  for (Index i = 1; i < threads; ++i) pool.Schedule([shared] { shared->Help(); });
  shared->Help();
  shared->Wait();
}

template <typename T>
using Vector = typename Lanes<T>::Vector;

// Numbers of a row, `count` of them or whole vectors: what is missing is zero, and is
// neither read nor written.
#if defined(__AVX512F__)
inline Vector<float> LoadPart(const float* place, Index count) {
  return (Vector<float>)_mm512_maskz_loadu_ps((1u << count) - 1, place);
}
inline Vector<double> LoadPart(const double* place, Index count) {
  return (Vector<double>)_mm512_maskz_loadu_pd((1u << count) - 1, place);
}
inline void StorePart(float* place, Vector<float> x, Index count) {
  _mm512_mask_storeu_ps(place, (1u << count) - 1, (__m512)x);
}
inline void StorePart(double* place, Vector<double> x, Index count) {
  _mm512_mask_storeu_pd(place, (1u << count) - 1, (__m512d)x);
}
#elif defined(__AVX__)
inline __m256i Mask(float, Index count) {
  typedef int32_t Places __attribute__((vector_size(32)));
  return (__m256i)(Places{0, 1, 2, 3, 4, 5, 6, 7} < int32_t(count));
}
inline __m256i Mask(double, Index count) {
  typedef int64_t Places __attribute__((vector_size(32)));
  return (__m256i)(Places{0, 1, 2, 3} < int64_t(count));
}
inline Vector<float> LoadPart(const float* place, Index count) {
  return (Vector<float>)_mm256_maskload_ps(place, Mask(0.0f, count));
}
inline Vector<double> LoadPart(const double* place, Index count) {
  return (Vector<double>)_mm256_maskload_pd(place, Mask(0.0, count));
}
inline void StorePart(float* place, Vector<float> x, Index count) {
  _mm256_maskstore_ps(place, Mask(0.0f, count), (__m256)x);
}
inline void StorePart(double* place, Vector<double> x, Index count) {
  _mm256_maskstore_pd(place, Mask(0.0, count), (__m256d)x);
}
#else
template <typename T>
Vector<T> LoadPart(const T* place, Index count) {
  Vector<T> x = {};
  for (Index i = 0; i < count; ++i) x[i] = place[i];
  return x;
}
template <typename T>
void StorePart(T* place, const Vector<T>& x, Index count) {
  for (Index i = 0; i < count; ++i) place[i] = x[i];
}
#endif

template <typename T>
Vector<T> Load(const T* place, Index count = Lanes<T>::WIDTH) {
  if (count >= Lanes<T>::WIDTH) return *reinterpret_cast<const Vector<T>*>(place);
  return LoadPart(place, count);
}

template <typename T>
void Store(T* place, const Vector<T>& x, Index count = Lanes<T>::WIDTH) {
  if (count >= Lanes<T>::WIDTH)
    *reinterpret_cast<Vector<T>*>(place) = x;
  else
    StorePart(place, x, count);
}

// rows[r] . weights, for `count` rows at once: each row is `lines` runs of `run`
// values, `line` apart. Writes `columns` values a row, to which those of `start` are
// added, if there are any.
template <typename T, int R, int V>
void Tile(const T* const* rows, Index lines, Index line, Index run, const T* weights,
          T* const* out, Index columns, const T* start) {
  using Vector = typename Lanes<T>::Vector;
  Vector sums[R][V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    Vector own = {};
    if (start) own = Load(start + v * Lanes<T>::WIDTH, columns - v * Lanes<T>::WIDTH);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sums[r][v] = own;
  }
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
  // Taken apart here: an address of the sums would keep them in memory.
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      Store(out[r] + v * Lanes<T>::WIDTH, sums[r][v], columns - v * Lanes<T>::WIDTH);
}

// A tile of any number of rows up to R.
template <typename T, int V, int R = ROWS>
void Rows(Index count, const T* const* rows, Index lines, Index line, Index run,
          const T* weights, T* const* out, Index columns, const T* start = nullptr) {
  if constexpr (R > 0) {
    if (count == R)
      Tile<T, R, V>(rows, lines, line, run, weights, out, columns, start);
    else
      Rows<T, V, R - 1>(count, rows, lines, line, run, weights, out, columns, start);
  }
}

// Memory that a thread gave back and will soon ask for again. A process of jaxdl has one
// heap for all threads (jaxdl/memory.py): at each head of attention two waited for one
// another there, a sixth of the step of nanoGPT's setting for a CPU.
class Returned {
 public:
  // Packed values begin where a cache line does: or each vector lies on two.
  static constexpr std::align_val_t LINE{64};

  static void* Take(std::size_t bytes) {
    for (int i = own_.count; i-- > 0;)
      if (own_.blocks[i].bytes == bytes) return own_.Out(i).place;
    return ::operator new(bytes, LINE);
  }

  static void Give(void* place, std::size_t bytes) {
    if (ended_ || bytes > LARGEST) return ::operator delete(place, LINE);
    if (own_.count == MOST) ::operator delete(own_.Out(0).place, LINE);
    own_.blocks[own_.count++] = {place, bytes};
  }

 private:
  static constexpr int MOST = 16;
  static constexpr std::size_t LARGEST = 1 << 20;

  struct Block {
    void* place;
    std::size_t bytes;
  };

  struct Own {
    Block blocks[MOST];
    int count;  // zero, as all of a thread begins

    // The oldest comes first.
    Block Out(int i) {
      const Block block = blocks[i];
      std::copy(blocks + i + 1, blocks + count--, blocks + i);
      return block;
    }
    ~Own() {
      while (count) ::operator delete(blocks[--count].place, LINE);
      ended_ = true;  // what else ends with the thread may give memory back yet
    }
  };

  static inline thread_local bool ended_ = false;
  static inline thread_local Own own_;
};

template <typename T>
struct Aligned {
  using value_type = T;

  Aligned() = default;
  template <typename U>
  Aligned(const Aligned<U>&) {}
  T* allocate(std::size_t count) {
    return static_cast<T*>(Returned::Take(count * sizeof(T)));
  }
  void deallocate(T* place, std::size_t count) {
    Returned::Give(place, count * sizeof(T));
  }
  // Numbers are not set to zero: who asks for room writes all that it reads.
  template <typename U>
  void construct(U* place) {
    ::new (static_cast<void*>(place)) U;
  }
  bool operator==(const Aligned&) const { return true; }
  bool operator!=(const Aligned&) const { return false; }
};

template <typename T>
using Room = std::vector<T, Aligned<T>>;

// The vectors that a block of output channels is computed in.
template <typename T>
Index VectorsFor(Index columns) {
  return columns <= Lanes<T>::WIDTH ? 1 : VECTORS;
}

// A matrix [depth, columns] cut into panels of up to COLUMNS columns, each of which
// lies together in memory, padded with zeros to whole vectors.
template <typename T>
struct Panels {
  Index depth, columns;
  Room<T> data;

  Panels(Index depth, Index columns) : depth(depth), columns(columns) {
    // The last panel may be of fewer vectors.
    const Index last = columns % Lanes<T>::COLUMNS;
    data.resize(depth * (columns - last + (last ? VectorsFor<T>(last) : 0) *
                                              Lanes<T>::WIDTH));
  }

  // value(row, column)
  template <typename Value>
  Panels(Index depth, Index columns, Value value) : Panels(depth, columns) {
    T* at = data.data();
    for (Index first = 0; first < columns; first += Lanes<T>::COLUMNS) {
      const Index real = std::min(columns - first, Lanes<T>::COLUMNS);
      const Index whole = VectorsFor<T>(real) * Lanes<T>::WIDTH;
      for (Index k = 0; k < depth; ++k, at += whole)
        for (Index c = 0; c < whole; ++c) at[c] = c < real ? value(k, first + c) : T(0);
    }
  }
};

// Row r of the result, to + r * to_line, is row r of a, of which `depth` values count,
// times a panel of V vectors, of whose columns `columns` are written.
template <typename T, int V>
void TimesPanel(const T* a, Index line, Index rows, Index depth, const T* panel,
                Index columns, T* to, Index to_line) {
  for (Index r = 0; r < rows; r += ROWS) {
    const Index count = std::min<Index>(ROWS, rows - r);
    const T* from[ROWS];
    T* out[ROWS];
    for (Index i = 0; i < count; ++i) {
      from[i] = a + (r + i) * line;
      out[i] = to + (r + i) * to_line;
    }
    Rows<T, V>(count, from, 1, 0, depth, panel, out, columns);
  }
}

// a [rows, depth] times the first `columns` columns of b, of which `depth` rows count.
// Whole panels are computed; `to` has room for them.
template <typename T>
void Times(const T* a, Index line, Index rows, Index depth, const Panels<T>& b,
           Index columns, T* to, Index to_line) {
  const T* panel = b.data.data();
  for (Index first = 0; first < columns; first += Lanes<T>::COLUMNS) {
    const Index real = std::min(b.columns - first, Lanes<T>::COLUMNS);
    const Index vectors = VectorsFor<T>(real);
    if (vectors == 1)
      TimesPanel<T, 1>(a, line, rows, depth, panel, real, to + first, to_line);
    else
      TimesPanel<T, VECTORS>(a, line, rows, depth, panel, real, to + first, to_line);
    panel += b.depth * vectors * Lanes<T>::WIDTH;
  }
}

// Adds to R rows of weights what `height` lines of `width` pixels give them: pixel
// values x[r] times the slopes of `columns` channels.
template <typename T, int R, int V>
void Outer(const T* x, Index x_line, Index x_step, const T* slope, Index slope_line,
           Index slope_step, Index height, Index width, T* sums, Index stride,
           Index columns) {
  using Vector = typename Lanes<T>::Vector;
  Vector total[R][V] = {};
  for (Index y = 0; y < height; ++y) {
    const T* from = x + y * x_line;
    const T* by = slope + y * slope_line;
    for (Index i = 0; i < width; ++i, from += x_step, by += slope_step) {
      Vector g[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v)
        g[v] = Load(by + v * Lanes<T>::WIDTH, columns - v * Lanes<T>::WIDTH);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const T value = from[r];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) total[r][v] += value * g[v];
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      T* place = sums + r * stride + v * Lanes<T>::WIDTH;
      const Index count = columns - v * Lanes<T>::WIDTH;
      Store(place, Load(place, count) + total[r][v], count);
    }
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

// sums [inputs, outputs] += what the pixels of `height` lines of `width` give: values x
// [inputs] times slopes [outputs].
template <typename T>
void AddProducts(const T* x, Index x_line, Index x_step, Index inputs, const T* slope,
                 Index slope_line, Index slope_step, Index outputs, Index height,
                 Index width, T* sums, Index stride) {
  for (Index first = 0; first < outputs; first += Lanes<T>::COLUMNS) {
    const Index columns = std::min(outputs - first, Lanes<T>::COLUMNS);
    for (Index j = 0; j < inputs; j += ROWS) {
      const Index count = std::min<Index>(ROWS, inputs - j);
      auto add = [&](auto vectors) {
        OuterRows<T, decltype(vectors)::value>(
            count, x + j, x_line, x_step, slope + first, slope_line, slope_step, height,
            width, sums + j * stride + first, stride, columns);
      };
      if (VectorsFor<T>(columns) == 1)
        add(std::integral_constant<int, 1>{});
      else
        add(std::integral_constant<int, VECTORS>{});
    }
  }
}

// sums [inputs, outputs] += transposed x [rows, inputs] times slope [rows, outputs].
template <typename T>
void AddTransposed(const T* x, Index x_line, Index inputs, const T* slope,
                   Index slope_line, Index outputs, Index rows, T* sums, Index stride) {
  AddProducts(x, Index(0), x_line, inputs, slope, Index(0), slope_line, outputs,
              Index(1), rows, sums, stride);
}

// Adds up what of(place) gives for a vector of channels, over places;
// four sums at a time, so that none waits for the one before.
template <typename T, typename Of>
Vector<T> SumOver(Index places, Of of) {
  Vector<T> sums[4] = {};
  Index i = 0;
  for (; i + 4 <= places; i += 4)
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sums[k] += of(i + k);
  for (; i < places; ++i) sums[0] += of(i);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// All lanes joined by join(a, b), by halves.
template <typename T, typename Join>
T Fold(Vector<T> x, Join join) {
  T lanes[Lanes<T>::WIDTH];
  Store(lanes, x);
  for (Index half = Lanes<T>::WIDTH / 2; half; half /= 2)
    for (Index i = 0; i < half; ++i) lanes[i] = join(lanes[i], lanes[i + half]);
  return lanes[0];
}

template <typename T>
T Sum(Vector<T> x) {
  return Fold<T>(x, [](T a, T b) { return a + b; });
}

// row . weights: `lines` runs of `run` values, those of the row `line` apart.
template <typename T>
T Dot(const T* row, Index lines, Index line, Index run, const T* weights) {
  constexpr Index WIDTH = Lanes<T>::WIDTH;
  const Index whole = run / WIDTH * WIDTH;
  Vector<T> sums[2] = {};
  T total = 0;
  for (Index k = 0; k < lines; ++k, row += line, weights += run) {
    Index j = 0;
    for (; j + WIDTH < whole; j += 2 * WIDTH) {
      sums[0] += Load(row + j) * Load(weights + j);
      sums[1] += Load(row + j + WIDTH) * Load(weights + j + WIDTH);
    }
    if (j < whole) sums[0] += Load(row + j) * Load(weights + j);
    for (j = whole; j < run; ++j) total += row[j] * weights[j];
  }
  return total + Sum<T>(sums[0] + sums[1]);
}

// exp(x) for x of at most 0, to about 1e-7 of it; not a number stays so.
inline Vector<float> Exp(Vector<float> x) {
  typedef int32_t Whole __attribute__((vector_size(BYTES)));
  const Vector<float> lowest = Vector<float>{} - 87.0f;
  const auto none = x < lowest;
  x = none ? lowest : x;
  // 2^n e^r: adding 1.5 * 2^23 rounds to a whole number.
  const Vector<float> n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
  const Vector<float> r = (x - n * 0.693145752f) - n * 1.42860677e-6f;
  Vector<float> y = r * 1.38888889e-3f + 8.33333333e-3f;
  y = y * r + 4.16666667e-2f;
  y = y * r + 1.66666667e-1f;
  y = y * r + 0.5f;
  y = y * r + 1.0f;
  y = y * r + 1.0f;
  const Whole bits = (__builtin_convertvector(n, Whole) + 127) << 23;
  Vector<float> power;
  std::memcpy(&power, &bits, sizeof(power));
  return none ? Vector<float>{} : y * power;
}

inline Vector<double> Exp(Vector<double> x) {
  for (Index i = 0; i < Lanes<double>::WIDTH; ++i) x[i] = std::exp(x[i]);
  return x;
}

template <typename V>
V Sigmoid(V x) {
  const V power = Exp(x < 0 ? x : -x);
  const V part = 1 / (1 + power);
  return x < 0 ? power * part : part;
}

inline Vector<float> Tanh(Vector<float> x) {
  const Vector<float> size = x < 0 ? -x : x, square = x * x;
  const Vector<float> power = Exp(-2 * size);
  const Vector<float> large = (1 - power) / (1 + power);
  // Near 0 that difference has few digits; four terms of the series have all.
  Vector<float> near = square * (-17.0f / 315) + 2.0f / 15;
  near = (near * square - 1.0f / 3) * square * x + x;
  return size < 0.15f ? near : x < 0 ? -large : large;
}

inline Vector<double> Tanh(Vector<double> x) {
  for (Index i = 0; i < Lanes<double>::WIDTH; ++i) x[i] = std::tanh(x[i]);
  return x;
}

// Calls run with a zero of the type of the numbers, float or double.
template <typename Run>
ffi::Error ByType(ffi::AnyBuffer a, Run run) {
  if (a.element_type() == ffi::F32)
    run(float{});
  else if (a.element_type() == ffi::F64)
    run(double{});
  else
    return ffi::Error::InvalidArgument("float32 or float64 is needed");
  return ffi::Error::Success();
}

// A binding with COUNT more arrays in, or out; XLA's are never copied nor moved.
template <int COUNT, typename Binding>
auto WithArguments(Binding&& binding) {
  if constexpr (COUNT == 1)
    return std::move(binding).template Arg<ffi::AnyBuffer>();
  else
    return WithArguments<COUNT - 1>(
        std::move(binding).template Arg<ffi::AnyBuffer>());
}

template <int COUNT, typename Binding>
auto WithResults(Binding&& binding) {
  if constexpr (COUNT == 1)
    return std::move(binding).template Ret<ffi::AnyBuffer>();
  else
    return WithResults<COUNT - 1>(std::move(binding).template Ret<ffi::AnyBuffer>());
}

// What a kernel is called with: XLA's threads, so many arrays in and out, and then what
// the caller adds.
template <int ARGUMENTS, int RESULTS>
auto Signature() {
  return WithResults<RESULTS>(
      WithArguments<ARGUMENTS>(ffi::Ffi::Bind().Ctx<ffi::ThreadPool>()));
}

}  // namespace jaxdl

#endif  // JAXDL_TILES_H_
