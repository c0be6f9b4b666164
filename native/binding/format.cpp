// The format of values for engines that keep them elsewhere: laid out here, read here.
#include <nanobind/stl/string.h>

#include "binding.hpp"
#include "header_cache.hpp"

using namespace nb::literals;

namespace {

// (header with its version stamped, offset of each piece, bytes in all)
nb::tuple lay_out(nb::handle pieces, nb::handle metadata, const std::string& version) {
  Buffers buffers;
  auto taken = pieces_from(pieces, buffers);
  for (auto& piece : taken) {
    const auto nbytes = dovetail::bytes_of(piece);
    if (piece.data != nullptr && piece.nbytes != nbytes) {
      throw dovetail::Error(dovetail::Status::unsupported,
                            "the array '" + std::string(piece.name) +
                                "' does not have the size of its shape and dtype");
    }
    piece.nbytes = nbytes;
  }
  auto layout = dovetail::lay_out(taken, metadata_from(metadata));
  dovetail::stamp_version(reinterpret_cast<std::uint8_t*>(layout.header.data()), version);
  nb::list extents;
  for (std::size_t i = 0; i < taken.size(); ++i) {
    extents.append(nb::make_tuple(layout.offsets[i], taken[i].nbytes));
  }
  return nb::make_tuple(nb::bytes(layout.header.data(), layout.header.size()), extents,
                        layout.total);
}

std::uint64_t header_end(nb::handle prefix, std::uint64_t nbytes) {
  Buffers buffers;
  const auto& bytes = buffers.take(prefix);
  if (static_cast<std::uint64_t>(bytes.len) < std::min<std::uint64_t>(nbytes, 8)) {
    throw nb::value_error("the first 8 bytes of a value are needed");
  }
  return dovetail::header_end(static_cast<const std::uint8_t*>(bytes.buf), nbytes);
}

// (header, version): the version is empty for a value that is not ours.
nb::tuple read_header(nb::handle prefix, std::uint64_t nbytes) {
  static dovetail::HeaderCache cache;
  Buffers buffers;
  const auto& bytes = buffers.take(prefix);
  const auto* const first = static_cast<const std::uint8_t*>(bytes.buf);
  const auto end = header_end(prefix, nbytes);
  if (static_cast<std::uint64_t>(bytes.len) < end) {
    throw nb::value_error("the whole header of a value is needed");
  }
  const auto header = cache.read(first, nbytes);
  return nb::make_tuple(header_to_python(*header.shared), header.version);
}

}  // namespace

void bind_format(nb::module_& module) {
  module.def("lay_out", &lay_out, "pieces"_a, "metadata"_a, "version"_a);
  module.def("header_end", &header_end, "prefix"_a, "nbytes"_a);
  module.def("read_header", &read_header, "prefix"_a, "nbytes"_a);
}
