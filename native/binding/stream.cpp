// Streams for Python. Calls that may wait release the GIL and look for signals.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include "binding.hpp"
#include "stream_reader.hpp"
#include "stream_writer.hpp"

using namespace nb::literals;
using namespace dovetail;

namespace {

constexpr const char* policy_names[] = {"lockstep", "buffered", "latest", "work_queue"};
constexpr const char* ring_states[] = {"open", "ended", "failed", "lost"};
constexpr const char* group_states[] = {"unused", "joining",  "live", "left",
                                        "failed", "expelled", "lost"};

Policy policy_from(const std::string& kind, std::uint32_t window) {
  for (std::uint32_t index = 0; index < std::size(policy_names); ++index) {
    if (kind == policy_names[index]) return {static_cast<PolicyKind>(index), window};
  }
  throw nb::value_error("an unknown policy");
}

nb::tuple policy_to_python(Policy policy) {
  return nb::make_tuple(policy_names[static_cast<std::size_t>(policy.kind)], policy.window);
}

// (steps, bytes, seconds waited, steps dropped, steps redelivered)
nb::tuple counters_to_python(const StreamCounters& counters) {
  return nb::make_tuple(counters.steps, counters.bytes,
                        static_cast<double>(counters.ns_waited) * 1e-9, counters.dropped,
                        counters.redelivered);
}

// (index, time in seconds, [(memory, header) of each writer rank]), or None
nb::object step_to_python(const std::optional<Step>& step) {
  if (!step) return nb::none();
  nb::list blocks;
  for (const auto& block : step->blocks) {
    blocks.append(nb::make_tuple(block.memory, header_to_python(*block.header)));
  }
  return nb::make_tuple(step->index, static_cast<double>(step->time_ns) * 1e-9, blocks);
}

Piece piece_from(const std::string& name, const std::string& code, nb::tuple shape) {
  Piece piece;
  piece.name = name;
  piece.dtype = code;
  for (const nb::handle extent : shape) piece.shape.push_back(nb::cast<std::uint64_t>(extent));
  return piece;
}

nb::dict describe(const std::string& path, const std::string& label) {
  const auto summary = without_gil([&] { return describe_stream(path, label); });
  nb::list groups;
  for (const auto& group : summary.groups) {
    groups.append(nb::make_tuple(group.name, group.ranks,
                                 group_states[static_cast<std::size_t>(group.state)],
                                 group.steps_ended));
  }
  nb::dict dict;
  dict["policy"] = policy_to_python(summary.policy);
  dict["state"] = ring_states[static_cast<std::size_t>(summary.state)];
  dict["epoch"] = summary.epoch;
  dict["ranks"] = summary.ranks;
  dict["steps_complete"] = summary.steps_complete;
  dict["steps_held"] = summary.steps_held;
  dict["bytes_held"] = summary.bytes_held;
  dict["capacity"] = summary.capacity;
  dict["groups"] = groups;
  return dict;
}

}  // namespace

void bind_stream(nb::module_& module) {
  nb::class_<StreamWriter>(module, "StreamWriter", "The producing end of a stream.")
      .def(
          "__init__",
          [](StreamWriter* self, std::string path, std::string label, const std::string& policy,
             std::uint32_t window, std::uint64_t capacity, std::uint32_t rank, std::uint32_t size,
             double timeout) {
            StreamWriter::Options options{std::move(path),
                                          std::move(label),
                                          policy_from(policy, window),
                                          capacity,
                                          rank,
                                          size,
                                          timeout};
            const WithoutGil released;
            new (self) StreamWriter(std::move(options), check_signals);
          },
          "path"_a, "label"_a, "policy"_a, "window"_a, "capacity"_a, "rank"_a, "size"_a,
          "timeout"_a)
      .def_prop_ro("epoch", &StreamWriter::epoch)
      .def_prop_ro("policy",
                   [](const StreamWriter& self) { return policy_to_python(self.policy()); })
      .def_prop_ro("stopped", &StreamWriter::stopped)
      .def(
          "begin",
          [](StreamWriter& self) { return without_gil([&] { return self.begin(check_signals); }); })
      .def(
          "put",
          [](StreamWriter& self, const std::string& name, const std::string& code, nb::tuple shape,
             nb::handle data) {
            auto piece = piece_from(name, code, std::move(shape));
            Buffers buffers;
            const auto& buffer = buffers.take(data);
            piece.data = buffer.buf;
            piece.nbytes = static_cast<std::uint64_t>(buffer.len);
            without_gil([&] { self.put(piece, check_signals); });
          },
          "name"_a, "code"_a, "shape"_a, "data"_a)
      .def(
          "empty",
          [](StreamWriter& self, const std::string& name, const std::string& code,
             nb::tuple shape) {
            auto piece = piece_from(name, code, std::move(shape));
            piece.nbytes = bytes_of(piece);
            const auto [memory, offset] =
                without_gil([&] { return self.empty(piece, check_signals); });
            return nb::make_tuple(memory, offset, piece.nbytes);
          },
          "name"_a, "code"_a, "shape"_a)
      .def(
          "end",
          [](StreamWriter& self, nb::handle metadata, bool written_to) {
            const auto texts = metadata_from(metadata);
            without_gil([&] { self.end(texts, written_to, check_signals); });
          },
          "metadata"_a, "written_to"_a)
      .def("abandon", &StreamWriter::abandon)
      .def("close", &StreamWriter::close, "failed"_a, nb::call_guard<WithoutGil>())
      .def("statistics",
           [](const StreamWriter& self) { return counters_to_python(self.counters()); });

  nb::class_<StreamReader>(module, "StreamReader", "The consuming end of a stream.")
      .def(
          "__init__",
          [](StreamReader* self, std::string path, std::string label, std::uint32_t rank,
             std::uint32_t size, std::string group, std::int64_t known_group, double timeout) {
            StreamReader::Options options{std::move(path),  std::move(label), rank,   size,
                                          std::move(group), known_group,      timeout};
            const WithoutGil released;
            new (self) StreamReader(std::move(options), check_signals);
          },
          "path"_a, "label"_a, "rank"_a, "size"_a, "group"_a, "known_group"_a, "timeout"_a)
      .def_prop_ro("epoch", &StreamReader::epoch)
      .def_prop_ro("group_entry", &StreamReader::group_entry)
      .def_prop_ro("policy",
                   [](const StreamReader& self) { return policy_to_python(self.policy()); })
      .def(
          "next",
          [](StreamReader& self, double timeout) {
            return step_to_python(without_gil([&] { return self.next(timeout, check_signals); }));
          },
          "timeout"_a)
      .def("end", &StreamReader::end, nb::call_guard<WithoutGil>())
      .def("stop", &StreamReader::stop, nb::call_guard<WithoutGil>())
      .def("close", &StreamReader::close, "failed"_a, nb::call_guard<WithoutGil>())
      .def("statistics",
           [](const StreamReader& self) { return counters_to_python(self.counters()); });

  nb::class_<StreamTail>(module, "StreamTail", "Follows a stream from outside.")
      .def(nb::init<std::string, std::string>(), "path"_a, "label"_a)
      .def(
          "next",
          [](StreamTail& self, double timeout) {
            return step_to_python(without_gil([&] { return self.next(timeout, check_signals); }));
          },
          "timeout"_a);

  module.def("describe_stream", &describe, "path"_a, "label"_a);
  module.def("destroy_stream", &destroy_stream, "path"_a, "label"_a, nb::call_guard<WithoutGil>());
  module.def("dead_epochs", &dead_epochs, "path"_a, "remove"_a, nb::call_guard<WithoutGil>());
}
