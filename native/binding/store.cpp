// The local Store for Python. Calls that touch the file system release the GIL.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "binding.hpp"
#include "local_store.hpp"

using namespace nb::literals;
using dovetail::LocalStore;
using dovetail::Reservation;
using dovetail::Value;

namespace {

// (memory, header, version)
nb::tuple value_to_python(const Value& value) {
  return nb::make_tuple(value.memory, header_to_python(*value.header), value.version);
}

std::string put(LocalStore& store, const std::string& key, nb::handle pieces, nb::handle metadata) {
  Buffers buffers;
  auto taken = pieces_from(pieces, buffers);
  const auto texts = metadata_from(metadata);
  return without_gil([&] { return store.put(key, std::move(taken), texts); });
}

std::unique_ptr<Reservation> reserve(LocalStore& store, const std::string& key, nb::handle pieces,
                                     nb::handle metadata) {
  Buffers buffers;
  auto taken = pieces_from(pieces, buffers);
  const auto texts = metadata_from(metadata);
  return without_gil([&] { return store.reserve(key, std::move(taken), texts); });
}

nb::dict statistics(LocalStore& store) {
  const auto& counters = store.counters();
  nb::dict numbers;
  numbers["puts"] = counters.puts.load();
  numbers["gets"] = counters.gets.load();
  numbers["bytes_put"] = counters.bytes_put.load();
  numbers["bytes_got"] = counters.bytes_got.load();
  numbers["seconds_put"] = static_cast<double>(counters.ns_put.load()) * 1e-9;
  numbers["seconds_got"] = static_cast<double>(counters.ns_got.load()) * 1e-9;
  numbers["seconds_waited"] = static_cast<double>(counters.ns_waited.load()) * 1e-9;
  numbers["blocks_recycled"] = store.blocks_recycled();
  numbers["bytes_held"] = store.bytes_held();
  numbers["capacity"] = store.capacity();
  return numbers;
}

}  // namespace

void bind_store(nb::module_& module) {
  nb::class_<Reservation>(module, "Reservation", "Room for a value, filled in place.")
      .def_prop_ro("memory", &Reservation::memory)
      .def_prop_ro(
          "extents",
          [](const Reservation& self) {
            nb::list extents;
            for (const auto& [offset, nbytes] : self.extents()) {
              extents.append(nb::make_tuple(offset, nbytes));
            }
            return extents;
          },
          "Where each array lies: (offset, bytes).")
      .def("commit", &Reservation::commit, "written_to"_a, nb::call_guard<WithoutGil>())
      .def("abort", &Reservation::abort, nb::call_guard<WithoutGil>());

  nb::class_<LocalStore>(module, "Store", "The local Store: a folder of safetensors files.")
      .def(
          "__init__",
          [](LocalStore* self, std::string path, std::string label, std::uint64_t capacity,
             bool recycle, bool poll, bool own_folder) {
            new (self) LocalStore(
                {std::move(path), std::move(label), capacity, recycle, poll, own_folder});
          },
          "path"_a, "label"_a, "capacity"_a, "recycle"_a, "poll"_a, "own_folder"_a)
      .def("put", &put, "key"_a, "pieces"_a, "metadata"_a)
      .def("reserve", &reserve, "key"_a, "pieces"_a, "metadata"_a, nb::keep_alive<0, 1>())
      .def(
          "get",
          [](LocalStore& self, const std::string& key) {
            return value_to_python(without_gil([&] { return self.get(key); }));
          },
          "key"_a)
      .def(
          "wait",
          [](LocalStore& self, const std::string& key, double timeout,
             const std::optional<std::string>& newer_than) {
            return value_to_python(
                without_gil([&] { return self.wait(key, timeout, newer_than, check_signals); }));
          },
          "key"_a, "timeout"_a, "newer_than"_a.none())
      .def(
          "stat",
          [](LocalStore& self, const std::string& key) {
            const auto value = without_gil([&] { return self.stat(key); });
            return nb::make_tuple(header_to_python(*value.header), value.version, value.nbytes,
                                  value.time);
          },
          "key"_a)
      .def("exists", &LocalStore::exists, "key"_a, nb::call_guard<WithoutGil>())
      .def("remove", &LocalStore::remove, "key"_a, nb::call_guard<WithoutGil>())
      .def("rename", &LocalStore::rename, "key"_a, "new_key"_a, nb::call_guard<WithoutGil>())
      .def("keys", &LocalStore::keys, "prefix"_a, nb::call_guard<WithoutGil>())
      .def("foreign_files",
           [](LocalStore& self) {
             nb::list files;
             for (const auto& file : without_gil([&] { return self.foreign_files(); })) {
               files.append(nb::make_tuple(file.name, file.reason));
             }
             return files;
           })
      .def("append", &LocalStore::append, "list"_a, "key"_a, nb::call_guard<WithoutGil>())
      .def("items", &LocalStore::items, "list"_a, "start"_a, nb::call_guard<WithoutGil>())
      .def(
          "wait_items",
          [](LocalStore& self, const std::string& list, std::uint64_t count, std::uint64_t start,
             double timeout) {
            return without_gil(
                [&] { return self.wait_items(list, count, start, timeout, check_signals); });
          },
          "list"_a, "count"_a, "start"_a, "timeout"_a)
      .def("remove_list", &LocalStore::remove_list, "list"_a, nb::call_guard<WithoutGil>())
      .def_prop_ro("zero_copy", &LocalStore::in_place)
      .def_prop_ro("woken", [](const LocalStore& self) { return !self.options().poll; })
      .def("statistics", &statistics)
      .def("flush", &LocalStore::flush, nb::call_guard<WithoutGil>())
      .def("destroy", &LocalStore::destroy, nb::call_guard<WithoutGil>());

  module.def("fills_in_place", &dovetail::fills_in_place, "path"_a,
             "Whether values and rings are filled and read where they lie on the file system of a "
             "path that need not be there yet.");
  module.def("dead_blocks", &dovetail::dead_blocks, "path"_a, "remove"_a,
             nb::call_guard<WithoutGil>());
}
