// The producing end of a stream.
#include "calls.hpp"
#include "clock.hpp"
#include "ranks.hpp"
#include "streams.hpp"

using namespace dovetail;
using namespace dovetail::abi;

namespace {

constexpr int largest_window = 4096;

Policy policy_in(int kind, int window) {
  switch (kind) {
    case DVT_LOCKSTEP:
      return {PolicyKind::lockstep, 1};
    case DVT_LATEST:
      return {PolicyKind::latest, 1};
    case DVT_BUFFERED:
    case DVT_WORK_QUEUE:
      break;
    default:
      refuse("the policy " + std::to_string(kind) + " is none of dvt_policy");
  }
  if (window < 1 || window > largest_window) {
    refuse("the window is " + std::to_string(window) + " steps; it is 1 to " +
           std::to_string(largest_window));
  }
  return {static_cast<PolicyKind>(kind), static_cast<std::uint32_t>(window)};
}

void wait_for_groups(const StreamPlace& place, int readers, double timeout) {
  std::ptrdiff_t live = 0;
  const auto joined = [&] {
    live = 0;
    for (const auto& group : describe_stream(place.folder, place.url).groups) {
      live += group.state == GroupState::live ? 1 : 0;
    }
    return live >= readers;
  };
  if (poll_until(Deadline(timeout), uninterrupted, joined)) return;
  throw Error(Status::timeout, std::to_string(live) + " of " + std::to_string(readers) +
                                   " reader groups have joined " + place.url + " within " +
                                   readable_seconds(timeout) +
                                   ": start the others, or ask for fewer readers");
}

}  // namespace

int dvt_writer_open(const char* url, int policy, int window, const dvt_ranks* ranks, double timeout,
                    int readers, dvt_writer** writer) {
  return guarded([&] {
    auto& handle = result(writer, "writer");
    const auto place = stream_place(text_in(url, "the URL"));
    const auto chosen = policy_in(policy, window);
    const auto deadline = deadline_in(timeout);
    if (readers < 0) refuse("the number of reader groups is " + std::to_string(readers));
    const auto party = ranks_in(ranks);
    require_one_node(party, place.url);
    auto open = std::make_shared<OpenWriter>();
    open->url = place.url;
    open->core = first_on_rank_0(
        party, place.url,
        [&](std::int64_t) {
          return std::make_unique<StreamWriter>(
              StreamWriter::Options{place.folder, place.url, chosen, place.capacity, party.rank,
                                    party.size, deadline},
              uninterrupted);
        },
        [](StreamWriter& core) { return static_cast<std::int64_t>(core.epoch()); });
    try {
      if (readers > 0) wait_for_groups(place, readers, deadline);
    } catch (const Error&) {
      open->core->close(true);
      throw;
    }
    handle = handle_of(std::move(open));
  });
}

int dvt_writer_begin(dvt_writer* writer, const char* attrs, int64_t* index) {
  return guarded([&] {
    const auto open = object_of<OpenWriter>(writer);
    const std::lock_guard lock(open->mutex);
    const InCalls in_calls(open->ns_in_calls);
    Metadata metadata;
    add_attributes(attrs, metadata);
    open->began_ns = wall_clock_ns();
    open->waited_before_ns = open->core->counters().ns_waited;
    const auto step = open->core->begin(uninterrupted);
    open->metadata = std::move(metadata);
    open->nbytes = 0;
    if (index != nullptr) *index = static_cast<std::int64_t>(step);
  });
}

int dvt_writer_put(dvt_writer* writer, const dvt_array* array) {
  return guarded([&] {
    const auto& described = result(array, "array");
    const auto open = object_of<OpenWriter>(writer);
    const auto given = array_with_data(described);
    const std::lock_guard lock(open->mutex);
    const InCalls in_calls(open->ns_in_calls);
    Metadata metadata;
    const auto encoded = encode(given, metadata);
    open->core->put(encoded.piece, uninterrupted);
    open->metadata.insert(open->metadata.end(), metadata.begin(), metadata.end());
    open->nbytes += encoded.piece.nbytes;
  });
}

int dvt_writer_empty(dvt_writer* writer, dvt_array* array, dvt_lease** lease) {
  return guarded([&] {
    auto& described = result(array, "array");
    const auto open = object_of<OpenWriter>(writer);
    if (described.strides != nullptr) {
      refuse("room in a step is dense: give an order, and strides as NULL");
    }
    const auto given = array_in(described);
    const std::lock_guard lock(open->mutex);
    const InCalls in_calls(open->ns_in_calls);
    Metadata metadata;
    const auto piece = encode_room(given, metadata);
    const auto [memory, offset] = open->core->empty(piece, uninterrupted);
    open->metadata.insert(open->metadata.end(), metadata.begin(), metadata.end());
    open->nbytes += piece.nbytes;
    described.data = memory->writable_data() + offset;
    if (lease != nullptr) *lease = handle_of(std::make_shared<Lease>(memory));
  });
}

int dvt_writer_end(dvt_writer* writer, int written_to) {
  return guarded([&] {
    const auto open = object_of<OpenWriter>(writer);
    const std::lock_guard lock(open->mutex);
    const InCalls in_calls(open->ns_in_calls);
    Traced traced(open->began_ns);
    open->core->end(open->metadata, written_to != 0, uninterrupted);
    const auto waited = open->core->counters().ns_waited - open->waited_before_ns;
    traced.record(Traced::write_step, open->url, open->nbytes, waited);
  });
}

int dvt_writer_abandon(dvt_writer* writer) {
  return guarded([&] {
    const auto open = object_of<OpenWriter>(writer);
    const std::lock_guard lock(open->mutex);
    open->core->abandon();
  });
}

int dvt_writer_stopped(dvt_writer* writer, int* stopped) {
  return guarded([&] {
    auto& place = result(stopped, "stopped");
    const auto open = object_of<OpenWriter>(writer);
    const std::lock_guard lock(open->mutex);
    place = open->core->stopped() ? 1 : 0;
  });
}

int dvt_writer_close(dvt_writer* writer, int failed) {
  return guarded([&] {
    if (writer == nullptr) return;
    const auto open = take_object<OpenWriter>(writer);
    const std::lock_guard lock(open->mutex);
    open->core->close(failed != 0);
  });
}

int dvt_lease_close(dvt_lease* lease) {
  return guarded([&] {
    if (lease != nullptr) take_object<Lease>(lease);
  });
}

int dvt_writer_get_statistics(dvt_writer* writer, dvt_stream_statistics* statistics) {
  return guarded([&] {
    auto& numbers = result(statistics, "statistics");
    const auto open = object_of<OpenWriter>(writer);
    const std::lock_guard lock(open->mutex);
    numbers = statistics_of(open->core->counters(), open->ns_in_calls);
  });
}

int dvt_writer_get_info(dvt_writer* writer, dvt_stream_info* info) {
  return guarded([&] {
    auto& told = result(info, "info");
    const auto open = object_of<OpenWriter>(writer);
    const std::lock_guard lock(open->mutex);
    const auto policy = open->core->policy();
    told = {open->url.c_str(), static_cast<std::int32_t>(policy.kind),
            static_cast<std::int32_t>(policy.window),
            static_cast<std::int64_t>(open->core->epoch())};
  });
}
