// Writer ranks and reader groups of one stream in threads, under every policy, for the thread
// sanitizer.
//
//   ring_threads [steps]
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

#include "drivers.hpp"
#include "error.hpp"
#include "ring.hpp"
#include "stream_reader.hpp"
#include "stream_writer.hpp"

using namespace drivers;
using dovetail::Policy;
using dovetail::PolicyKind;

namespace {

constexpr std::uint32_t writer_ranks = 2;
constexpr double patience = 60;

std::size_t count_of(std::uint64_t step) { return step % 3 == 0 ? 3000 : 5 + step % 7; }

void write(const std::string& path, Policy policy, std::uint32_t rank, std::uint64_t steps) {
  dovetail::StreamWriter::Options options;
  options.path = path;
  options.label = "stream";
  options.policy = policy;
  options.capacity = 64 << 20;
  options.rank = rank;
  options.size = writer_ranks;
  options.timeout = patience;
  dovetail::StreamWriter writer(options, never_interrupt);
  for (std::uint64_t step = 0; step < steps; ++step) {
    require(writer.begin(never_interrupt) == step, "steps are counted");
    const auto array = filled(step, count_of(step));
    if (step % 2 == 0) {
      writer.put(piece("u", array), never_interrupt);
    } else {
      auto room = piece("u", array);
      room.data = nullptr;
      const auto [memory, offset] = writer.empty(room, never_interrupt);
      std::copy(array.begin(), array.end(),
                reinterpret_cast<std::uint64_t*>(memory->writable_data() + offset));
    }
    writer.end({}, false, never_interrupt);
  }
  writer.close(false);
}

// All steps that one rank of a group sees, each checked, holding the last few.
std::vector<std::uint64_t> read(const std::string& path, const std::string& group,
                                std::uint32_t rank, std::uint32_t size) {
  dovetail::StreamReader::Options options;
  options.path = path;
  options.label = "stream";
  options.group = group;
  options.rank = rank;
  options.size = size;
  options.timeout = patience;
  dovetail::StreamReader reader(options, never_interrupt);
  std::vector<std::uint64_t> seen;
  std::vector<dovetail::Step> held;
  const auto check = [](const dovetail::Step& step) {
    require(step.blocks.size() == writer_ranks, "a step has a block of each rank");
    for (const auto& block : step.blocks) {
      const auto number = number_in(block.memory->data(), *block.header, count_of(step.index));
      require(number == step.index, "a step holds what was put into it");
    }
  };
  while (auto step = reader.next(patience, never_interrupt)) {
    check(*step);
    seen.push_back(step->index);
    held.push_back(std::move(*step));
    if (held.size() > 2) {
      check(held.front());
      held.erase(held.begin());
    }
  }
  for (const auto& step : held) check(step);
  reader.close(false);
  return seen;
}

void run(const char* name, Policy policy, std::uint64_t steps) {
  const Folder folder;
  const auto path = folder.path() + "/x.stream";
  std::vector<std::uint64_t> alone, left, right;
  std::vector<std::function<void()>> tasks;
  for (std::uint32_t rank = 0; rank < writer_ranks; ++rank) {
    tasks.push_back([&, rank] { write(path, policy, rank, steps); });
  }
  tasks.push_back([&] { alone = read(path, "", 0, 1); });
  tasks.push_back([&] { left = read(path, "pair", 0, 2); });
  tasks.push_back([&] { right = read(path, "pair", 1, 2); });
  run_together(tasks);

  require(left == right, "the ranks of a group see the same steps");
  for (const auto* seen : {&alone, &left}) {
    require(std::is_sorted(seen->begin(), seen->end()), "steps come in order");
  }
  if (policy.kind == PolicyKind::work_queue) {
    auto together = alone;
    together.insert(together.end(), left.begin(), left.end());
    std::sort(together.begin(), together.end());
    require(together.size() == steps, "each step is dealt once");
    for (std::uint64_t step = 0; step < steps; ++step)
      require(together[step] == step, "no step is lost");
  } else {
    for (const auto* seen : {&alone, &left}) {
      require(!seen->empty() && seen->back() == steps - 1, "the final step arrives");
      if (policy.kind != PolicyKind::latest) {
        require(seen->size() == steps - seen->front(), "no step is left out");
      }
    }
  }
  std::printf("%s: %llu steps, %zu and %zu seen\n", name, static_cast<unsigned long long>(steps),
              alone.size(), left.size());
}

}  // namespace

int main(int argc, char** argv) {
  const auto steps = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 200ULL;
  run("lockstep", {PolicyKind::lockstep, 1}, steps);
  run("buffered(1)", {PolicyKind::buffered, 1}, steps);
  run("buffered(4)", {PolicyKind::buffered, 4}, steps);
  run("latest", {PolicyKind::latest, 1}, steps);
  run("work_queue(3)", {PolicyKind::work_queue, 3}, steps);
  return 0;
}
