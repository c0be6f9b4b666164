// The consuming end of a stream.
#include "calls.hpp"
#include "ranks.hpp"
#include "streams.hpp"

using namespace dovetail;
using namespace dovetail::abi;

int dvt_reader_open(const char* url, const dvt_ranks* ranks, const char* group, double timeout,
                    dvt_reader** reader) {
  return guarded([&] {
    auto& handle = result(reader, "reader");
    const auto place = stream_place(text_in(url, "the URL"));
    const auto deadline = deadline_in(timeout);
    const std::string name = group == nullptr ? "" : key_in(group);
    const auto party = ranks_in(ranks);
    if (party.size > 1 && party.communicator == nullptr && group == nullptr) {
      refuse(std::to_string(party.size) +
             " reader ranks without a communicator must say which group they form: name it");
    }
    require_one_node(party, place.url);
    auto open = std::make_shared<OpenReader>();
    open->url = place.url;
    open->timeout = deadline;
    open->core = first_on_rank_0(
        party, place.url,
        [&](std::int64_t entry) {
          return std::make_unique<StreamReader>(
              StreamReader::Options{place.folder, place.url, party.rank, party.size, name, entry,
                                    deadline},
              uninterrupted);
        },
        [](StreamReader& core) { return static_cast<std::int64_t>(core.group_entry()); });
    handle = handle_of(std::move(open));
  });
}

int dvt_reader_next(dvt_reader* reader, double timeout, dvt_step** step) {
  return guarded([&]() -> int {
    auto& handle = result(step, "step");
    const auto open = object_of<OpenReader>(reader);
    const std::lock_guard lock(open->mutex);
    if (open->is_finished) return DVT_END;
    const InCalls in_calls(open->ns_in_calls);
    Traced traced;
    const auto waited_before = open->core->counters().ns_waited;
    if (open->current != nullptr) open->current->is_ended = true;
    open->current = nullptr;
    const auto deadline = timeout == DVT_AS_OPENED ? open->timeout : deadline_in(timeout);
    auto taken = open->core->next(deadline, uninterrupted);
    if (!taken) {
      open->is_finished = true;
      open->core->close(false);
      return DVT_END;
    }
    auto in_hand = std::make_shared<StepInHand>(std::move(*taken), open, open->overlaps);
    const auto waited = open->core->counters().ns_waited - waited_before;
    traced.record(Traced::read_step, open->url, in_hand->nbytes(), waited);
    open->current = in_hand.get();
    handle = handle_of(std::move(in_hand));
    return DVT_OK;
  });
}

int dvt_reader_stop(dvt_reader* reader) {
  return guarded([&] {
    const auto open = object_of<OpenReader>(reader);
    const std::lock_guard lock(open->mutex);
    if (!open->is_finished) open->core->stop();
  });
}

int dvt_reader_close(dvt_reader* reader, int failed) {
  return guarded([&] {
    if (reader == nullptr) return;
    const auto open = take_object<OpenReader>(reader);
    const std::lock_guard lock(open->mutex);
    open->core->close(failed != 0);
  });
}

int dvt_reader_get_statistics(dvt_reader* reader, dvt_stream_statistics* statistics) {
  return guarded([&] {
    auto& numbers = result(statistics, "statistics");
    const auto open = object_of<OpenReader>(reader);
    const std::lock_guard lock(open->mutex);
    numbers = statistics_of(open->core->counters(), open->ns_in_calls);
  });
}

int dvt_reader_get_info(dvt_reader* reader, dvt_stream_info* info) {
  return guarded([&] {
    auto& told = result(info, "info");
    const auto open = object_of<OpenReader>(reader);
    const std::lock_guard lock(open->mutex);
    const auto policy = open->core->policy();
    told = {open->url.c_str(), static_cast<std::int32_t>(policy.kind),
            static_cast<std::int32_t>(policy.window),
            static_cast<std::int64_t>(open->core->epoch())};
  });
}
