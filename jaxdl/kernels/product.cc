// Products of matrices for XLA on CPU: of a dense layer the value, the gradient by its
// input and the gradient by its kernel. Operands are read as they lie; where their rows
// lie far apart or the wrong way, a thread packs what it needs (Goto and van de Geijn
// 2008).
//
// Every operand has a leading axis of members, each a product of its own. How work is
// cut among threads changes no sum: that goes by depth alone.

#include "packing.h"

namespace jaxdl {
namespace {

// Room for so many packed values, which a thread keeps for its next product.
template <typename T>
T* Of(Room<T>& room, Index count) {
  if (count > Index(room.size())) room = Room<T>(count);
  return room.data();
}

// Depth that is gone through at once: a panel of so many lines stays near.
constexpr Index DEPTH = 512;
// Tiles of rows that are gone through at once, for the same panel.
constexpr Index TALL = 40;
// Bytes between lines from which on they are packed: soon each is on a page of its own.
constexpr Index FAR = 2048;
// Panels of b that are packed at once.
constexpr Index BESIDE = 4;
// Multiplications for which it is worth to wake another thread.
constexpr Index WORTH_SHARING = 1 << 21;

// R rows of a product, V vectors wide: added to c or written there. Row r of a begins
// at a + r * row; its values follow each other, or else its rows do and `row` is that
// of values.
template <typename T, int R, int V, bool FOLLOW>
void Multiply(Index depth, const T* a, Index row, const T* b, Index b_row, T* c,
              Index line, Index rows, Index columns, bool add) {
  constexpr Index W = Lanes<T>::WIDTH;
  constexpr int GROUP = ROWS / 6;  // rows by one pointer: there are few registers
  const T* at[R / GROUP];
  for (int i = 0; i < R / GROUP; ++i) at[i] = a + (FOLLOW ? i * GROUP * row : 0);
  Vector<T> sums[R][V] = {};
  for (Index k = 0; k < depth; ++k, b += b_row) {
    Vector<T> w[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      w[v] = Load(b + v * W);
      __builtin_prefetch(b + AHEAD * b_row + v * W);
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const T value = FOLLOW ? at[r / GROUP][r % GROUP * row] : a[r];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[r][v] += value * w[v];
    }
    if (FOLLOW)
      for (int i = 0; i < R / GROUP; ++i) ++at[i];
    else
      a += row;
  }
  auto put = [&](int r, int v, Index count) {
    T* place = c + r * line + v * W;
    Store(place, add ? Vector<T>(Load(place, count) + sums[r][v]) : sums[r][v], count);
  };
  const bool whole = rows == R && columns == V * W;
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      if (whole)
        put(r, v, W);
      else if (r < rows)
        put(r, v, columns - v * W);
}

template <typename T>
class Product {
 public:
  Product(Matrix<T> a, Matrix<T> b, Index rows, Index columns, Index depth)
      : a_(a), b_(b), rows_(rows), columns_(columns), depth_(depth),
        tiles_(Whole(rows, ROWS)), panels_(Whole(columns, Lanes<T>::COLUMNS)),
        part_(Whole(depth, Whole(depth, DEPTH))) {}

  // Of each of so many members, by so many threads; each(count, work) shares the work.
  template <typename Each>
  void Run(Index members, T* c, Index threads, Each each) const {
    const Index size = members * rows_ * columns_ * depth_;
    // One unit a thread: with four, each of which packs and reads for itself, steps of a
    // VAE and of nanoGPT's setting took 6% longer.
    const Index wanted =
        size < WORTH_SHARING || threads < 2
            ? 1
            : Whole(std::min(threads, size / (WORTH_SHARING / 2)), members);
    // A unit reads its part of one operand and the whole of the other: by panels where
    // b is the larger one, or is packed, by each unit that has other rows.
    Index down = Whole(tiles_, TALL);
    const bool by_panels =
        columns_ > rows_ || b_.column != 1 || Far(b_, tiles_) || tiles_ < wanted;
    const Index across =
        by_panels ? std::min(panels_, Whole(wanted, down)) : Index(1);
    down = std::min(tiles_, std::max(down, Whole(wanted, across)));
    const Index tall = Whole(tiles_, down), broad = Whole(panels_, across);
    const Index lines = Whole(tiles_, tall), beside = Whole(panels_, broad);
    each(members * lines * beside, [&](Index i) {
      const Index member = i / (lines * beside);
      const Index tile = i / beside % lines * tall, panel = i % beside * broad;
      Unit(member, c, tile, std::min(tile + tall, tiles_), panel,
           std::min(panel + broad, panels_));
    });
  }

 private:
  // The product's tiles from first to last, in panels from panel to end.
  void Unit(Index member, T* c, Index first, Index last, Index panel, Index end) const {
    constexpr Index COLUMNS = Lanes<T>::COLUMNS;
    static thread_local Room<T> rooms[2];
    T* const tiles = Of(rooms[0], (last - first) * ROWS * part_);
    T* const room = Of(rooms[1], BESIDE * COLUMNS * part_);
    c += member * rows_ * columns_;
    for (Index k = 0; k < depth_; k += part_) {
      const Index depth = std::min(part_, depth_ - k);
      const Matrix<T> a = a_.Of(member * rows_ * depth_).From(0, k).Transposed();
      const Matrix<T> b = b_.Of(member * depth_ * columns_).From(k, 0);
      for (Index t = first; t < last; ++t)
        if (Packs(a, t, end - panel))
          Pack(a.From(0, t * ROWS), depth, RowsOf(t), ROWS,
               tiles + (t - first) * ROWS * depth);
      for (Index p = panel; p < end; p += BESIDE) {
        const Index next = std::min(p + BESIDE, end);
        const Matrix<T> own = b.From(0, p * COLUMNS);
        const Index across = std::min(columns_ - p * COLUMNS, (next - p) * COLUMNS);
        const bool packed = own.column != 1 || Far(own, last - first);
        if (packed) Pack(own, depth, across, COLUMNS, room);
        for (Index q = p; q < next; ++q) {
          const Index columns = std::min(columns_ - q * COLUMNS, COLUMNS);
          const Index from = (q - p) * COLUMNS;
          Matrix<T> by{room + from * depth, COLUMNS, 1};
          if (!packed && columns == COLUMNS)
            by = own.From(0, from);
          else if (!packed)
            Pack(own.From(0, from), depth, columns, COLUMNS, room + from * depth);
          for (Index t = first; t < last; ++t) {
            const Matrix<T> rows =
                Packs(a, t, end - panel)
                    ? Matrix<T>{tiles + (t - first) * ROWS * depth, ROWS, 1}
                    : a.From(0, t * ROWS);
            T* const to = c + t * ROWS * columns_ + q * COLUMNS;
            if (VectorsFor<T>(columns) == 1)
              Tile<1>(depth, rows, by, to, RowsOf(t), columns, k > 0);
            else
              Tile<VECTORS>(depth, rows, by, to, RowsOf(t), columns, k > 0);
          }
        }
      }
    }
  }

  Index RowsOf(Index tile) const { return std::min<Index>(ROWS, rows_ - tile * ROWS); }

  // Of a matrix whose lines follow each other in memory.
  static bool Far(const Matrix<T>& m, Index uses) {
    return m.row * Index(sizeof(T)) >= FAR && uses >= 4;
  }

  // Whether a tile is packed: one of fewer rows, for what is missing, always; not where
  // a row's values follow each other, which was slower.
  bool Packs(const Matrix<T>& a, Index tile, Index uses) const {
    return RowsOf(tile) < ROWS || (a.column == 1 && Far(a, uses));
  }

  // a [depth, rows], times b.
  template <int V>
  void Tile(Index depth, const Matrix<T>& a, const Matrix<T>& b, T* c, Index rows,
            Index columns, bool add) const {
    constexpr int THIRD = ROWS / 3;
    auto run = a.column != 1      ? Multiply<T, ROWS, V, true>
               : rows > 2 * THIRD ? Multiply<T, ROWS, V, false>
               : rows > THIRD     ? Multiply<T, 2 * THIRD, V, false>
                                  : Multiply<T, THIRD, V, false>;
    run(depth, a.data, a.column != 1 ? a.column : a.row, b.data, b.row, c, columns_,
        rows, columns, add);
  }

  const Matrix<T> a_, b_;
  const Index rows_, columns_, depth_, tiles_, panels_, part_;
};

template <typename T>
void Products(ffi::ThreadPool pool, Index members, Matrix<T> a, Matrix<T> b, T* c,
              Index rows, Index columns, Index depth) {
  const Product<T> product(a, b, rows, columns, depth);
  product.Run(members, c, pool.num_threads(), [&](Index count, auto work) {
    if (count > 1)
      ForEach(pool, count, work);
    else
      work(0);
  });
}

// x [members, rows, inputs] times kernel [members, inputs, outputs].
ffi::Error Value(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer kernel,
                 ffi::Result<ffi::AnyBuffer> y) {
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    const auto size = x.dimensions();
    const Index outputs = kernel.dimensions()[2];
    Products<T>(pool, size[0], {x.typed_data<T>(), size[2], 1},
                {kernel.typed_data<T>(), outputs, 1}, y->typed_data<T>(), size[1],
                outputs, size[2]);
  });
}

// slope [members, rows, outputs] times kernel [members, inputs, outputs], transposed.
ffi::Error ByInput(ffi::ThreadPool pool, ffi::AnyBuffer slope, ffi::AnyBuffer kernel,
                   ffi::Result<ffi::AnyBuffer> x) {
  return ByType(slope, [&](auto zero) {
    using T = decltype(zero);
    const auto size = slope.dimensions();
    Products<T>(pool, size[0], {slope.typed_data<T>(), size[2], 1},
                {kernel.typed_data<T>(), 1, size[2]}, x->typed_data<T>(), size[1],
                kernel.dimensions()[1], size[2]);
  });
}

// x [members, rows, inputs], transposed, times slope [members, rows, outputs].
ffi::Error ByKernel(ffi::ThreadPool pool, ffi::AnyBuffer x, ffi::AnyBuffer slope,
                    ffi::Result<ffi::AnyBuffer> kernel) {
  return ByType(x, [&](auto zero) {
    using T = decltype(zero);
    const auto size = x.dimensions();
    const Index outputs = slope.dimensions()[2];
    Products<T>(pool, size[0], {x.typed_data<T>(), 1, size[2]},
                {slope.typed_data<T>(), outputs, 1}, kernel->typed_data<T>(), size[2],
                outputs, size[1]);
  });
}

}  // namespace
}  // namespace jaxdl

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_product, jaxdl::Value, (jaxdl::Signature<2, 1>()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_product_by_input, jaxdl::ByInput,
                              (jaxdl::Signature<2, 1>()));
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_product_by_kernel, jaxdl::ByKernel,
                              (jaxdl::Signature<2, 1>()));
