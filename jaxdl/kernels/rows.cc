// Rows of arrays, for batches that are gathered inside their step: XLA's own gather goes
// through numbers one by one.

#include "tiles.h"

namespace jaxdl {
namespace {

// Bytes below which to ask other threads for help costs more than it saves.
constexpr Index WORTH_SHARING = 1 << 16;
// Rows lie anywhere: so many ahead of the one copied are asked of memory.
constexpr Index AHEAD = 8;
constexpr Index LINE = 64;

struct Table {
  const char* from;
  char* to;
  Index rows, bytes;

  // A row's place; of an index beyond the ends that of the row at that end.
  const char* At(int32_t index) const {
    return from + std::clamp<Index>(index, 0, rows - 1) * bytes;
  }
};

void Copy(const Table& table, const int32_t* indices, Index first, Index last) {
  for (Index i = first; i < last; ++i) {
    if (i + AHEAD < last) {
      const char* next = table.At(indices[i + AHEAD]);
      for (Index b = 0; b < table.bytes; b += LINE) __builtin_prefetch(next + b);
    }
    std::memcpy(table.to + i * table.bytes, table.At(indices[i]), table.bytes);
  }
}

ffi::Error RowsCall(ffi::ThreadPool pool, ffi::Buffer<ffi::S32> indices,
                    ffi::RemainingArgs arrays, ffi::RemainingRets results) {
  const int32_t* const chosen = indices.typed_data();
  const Index count = indices.element_count();
  Index bytes = 0;
  std::vector<Table> tables;
  for (size_t i = 0; i < arrays.size(); ++i) {
    auto from = arrays.get<ffi::AnyBuffer>(i);
    auto to = results.get<ffi::AnyBuffer>(i);
    if (!from || !to) return ffi::Error::InvalidArgument("one result for each array");
    const Index rows = from->dimensions()[0];
    if (rows == 0 && count) return ffi::Error::InvalidArgument("an array has no rows");
    tables.push_back({static_cast<const char*>(from->untyped_data()),
                      static_cast<char*>((*to)->untyped_data()), rows,
                      rows ? Index(from->size_bytes()) / rows : 0});
    bytes += count * tables.back().bytes;
  }
  const Index threads = std::min<Index>(count, pool.num_threads());
  const Index shares = bytes < WORTH_SHARING ? 1 : threads;
  ForEach(pool, shares, [&](Index share) {
    for (const Table& table : tables)
      Copy(table, chosen, count * share / shares, count * (share + 1) / shares);
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace jaxdl

XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxdl_rows, jaxdl::RowsCall,
                              jaxdl::ffi::Ffi::Bind()
                                  .Ctx<jaxdl::ffi::ThreadPool>()
                                  .Arg<jaxdl::ffi::Buffer<jaxdl::ffi::S32>>()
                                  .RemainingArgs()
                                  .RemainingRets());
