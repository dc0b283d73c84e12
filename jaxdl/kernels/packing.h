// Matrices as they lie in memory, and parts of them packed as tiles of registers read
// them.

#ifndef JAXDL_PACKING_H_
#define JAXDL_PACKING_H_

#include <type_traits>

#include "tiles.h"

namespace jaxdl {

// Value (i, j) lies at data[i * row + j * column]; row or column is 1.
template <typename T>
struct Matrix {
  const T* data;
  Index row, column;

  Matrix From(Index i, Index j) const {
    return {data + i * row + j * column, row, column};
  }
  Matrix Of(Index place) const { return {data + place, row, column}; }
  Matrix Transposed() const { return {data, column, row}; }
};

// Lines that are fetched before they are needed.
constexpr Index AHEAD = 24;

inline Index Whole(Index count, Index part) { return (count + part - 1) / part; }

// Lines of vectors and lanes of each change places: first blocks of half of them.
template <typename T, int S = Lanes<T>::WIDTH / 2>
void Transpose(Vector<T>* lines) {
  constexpr int W = Lanes<T>::WIDTH;
#if !defined(__clang__)
  typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> Place;
  typedef Place Places __attribute__((vector_size(BYTES)));
  Places low, high;
#pragma GCC unroll 16
  for (int l = 0; l < W; ++l) {
    low[l] = l & S ? W + l - S : l;
    high[l] = l & S ? W + l : l + S;
  }
#endif
#pragma GCC unroll 16
  for (int i = 0; i < W; ++i)
    if (!(i & S)) {
      const Vector<T> a = lines[i], b = lines[i + S];
#if defined(__clang__)
      for (int l = 0; l < W; ++l) {
        lines[i][l] = l & S ? b[l - S] : a[l];
        lines[i + S][l] = l & S ? b[l] : a[l + S];
      }
#else
      lines[i] = __builtin_shuffle(a, b, low);
      lines[i + S] = __builtin_shuffle(a, b, high);
#endif
    }
  if constexpr (S > 1) Transpose<T, S / 2>(lines);
}

// Columns of m in panels: of each, `wide` values of the first line, then of the next;
// what is missing is zero.
template <typename T>
void Pack(const Matrix<T>& m, Index depth, Index across, Index wide, T* to) {
  constexpr Index W = Lanes<T>::WIDTH;
  auto place = [&](Index k, Index c) {
    return to + (c / wide * depth + k) * wide + c % wide;
  };
  const Index all = Whole(across, wide) * wide;
  if (m.column == 1) {
    for (Index k = 0; k < depth; ++k)
      for (Index first = 0; first < all; first += wide)
        for (Index c = first; c < first + wide; c += W) {
          __builtin_prefetch(m.From(k + AHEAD, c).data);
          Store(place(k, first) + c - first,
                Load(m.From(k, c).data, std::max<Index>(0, across - c)),
                first + wide - c);
        }
    return;
  }
  for (Index first = 0; first < all; first += wide)
    for (Index k = 0; k < depth; k += W)
      for (Index c = first; c < first + wide; c += W) {
        const Index deep = std::min(W, depth - k);
        Vector<T> lines[W];
#pragma GCC unroll 16
        for (Index i = 0; i < W; ++i)
          lines[i] = c + i < across ? Load(m.From(k, c + i).data, deep) : Vector<T>{};
        Transpose<T>(lines);
#pragma GCC unroll 16
        for (Index i = 0; i < W; ++i)
          if (i < deep) Store(place(k + i, first) + c - first, lines[i], first + wide - c);
      }
}

template <typename T>
Panels<T> PanelsOf(const Matrix<T>& m, Index depth, Index columns) {
  Panels<T> panels(depth, columns);
  T* at = panels.data.data();
  for (Index first = 0; first < columns; first += Lanes<T>::COLUMNS) {
    const Index real = std::min(columns - first, Lanes<T>::COLUMNS);
    const Index whole = VectorsFor<T>(real) * Lanes<T>::WIDTH;
    Pack(m.From(0, first), depth, real, whole, at);
    at += depth * whole;
  }
  return panels;
}

}  // namespace jaxdl

#endif  // JAXDL_PACKING_H_
