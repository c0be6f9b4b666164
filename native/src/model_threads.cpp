#include "model_threads.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <thread>

#include "posix.hpp"

namespace dovetail {

namespace {

using Clock = std::chrono::steady_clock;
constexpr double longest_trial = 0.05;  // seconds that one number of threads is tried
constexpr int most_trials = 20;
// More threads must be worth it: the solver may have a use for them.
constexpr double worth = 0.9;

std::size_t class_of(std::uint64_t elements) {
  std::size_t index = 0;
  while (elements > 1) {
    elements >>= 1;
    ++index;
  }
  return index;
}

double fastest(const std::function<void(int)>& measure, int threads) {
  measure(threads);  // threads are started, memory is allocated
  double best = std::numeric_limits<double>::infinity(), all = 0;
  for (int trial = 0; trial < most_trials && all < longest_trial; ++trial) {
    const auto begun = Clock::now();
    measure(threads);
    const double seconds = std::chrono::duration<double>(Clock::now() - begun).count();
    best = std::min(best, seconds);
    all += seconds;
  }
  return best;
}

int number_in(const char* variable) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? 0 : std::max(0, std::atoi(text));
}

// Of MPICH and its kin, Open MPI, MVAPICH, PALS, and srun.
int ranks_on_this_node() {
  for (const char* variable : {"MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE",
                               "MV2_COMM_WORLD_LOCAL_SIZE", "PALS_LOCAL_SIZE"}) {
    if (const int ranks = number_in(variable); ranks > 0) return ranks;
  }
  if (std::getenv("SLURM_PROCID") != nullptr) {
    if (const int ranks = number_in("SLURM_NTASKS_PER_NODE"); ranks > 0) return ranks;
  }
  return 1;
}

}  // namespace

ThreadChoice::ThreadChoice(const std::string& folder, int most)
    : path_(folder + "/threads-" + std::to_string(most)), most_(most) {
  if (most_ > 1) read();
}

int ThreadChoice::of(std::uint64_t elements, const std::function<void(int)>& measure) {
  if (most_ <= 1) return 1;
  auto& chosen = by_class_[class_of(elements)];
  if (chosen > 0) return chosen;
  double best = fastest(measure, 1);
  int fewest = 1;
  for (int threads = 2; threads <= most_; threads = std::min(threads * 2, most_)) {
    const double seconds = fastest(measure, threads);
    if (seconds < best * worth) {
      best = seconds;
      fewest = threads;
    }
    if (threads == most_) break;
  }
  chosen = fewest;
  write();
  return chosen;
}

void ThreadChoice::read() {
  std::ifstream file(path_);
  std::size_t index = 0;
  for (int threads = 0; file >> index >> threads;) {
    if (index < by_class_.size() && threads >= 1 && threads <= most_) by_class_[index] = threads;
  }
}

// A folder that cannot be written keeps nothing: the next process measures again.
void ThreadChoice::write() const {
  const auto made = path_ + "." + random_name();
  {
    std::ofstream file(made);
    for (std::size_t index = 0; index < by_class_.size(); ++index) {
      if (by_class_[index] > 0) file << index << ' ' << by_class_[index] << '\n';
    }
    if (!file.flush()) {
      ::unlink(made.c_str());
      return;
    }
  }
  if (::rename(made.c_str(), path_.c_str()) != 0) ::unlink(made.c_str());
}

int available_threads() {
  cpu_set_t processors;
  int here = 0;
  if (::sched_getaffinity(0, sizeof processors, &processors) == 0) here = CPU_COUNT(&processors);
  if (here < 1) here = static_cast<int>(std::thread::hardware_concurrency());
  const int online = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  // A launcher that binds its ranks has divided the processors already.
  if (here >= online) here /= ranks_on_this_node();
  if (const int said = number_in("OMP_NUM_THREADS"); said > 0) here = std::min(here, said);
  return std::max(1, here);
}

int threads_of_all_ranks() {
  const int online = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  return std::max(1, std::min(online, available_threads() * ranks_on_this_node()));
}

int device_of_rank(int devices) {
  const int ranks = ranks_on_this_node();
  int rank = 0;
  for (const char* variable : {"MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK",
                               "MV2_COMM_WORLD_LOCAL_RANK", "PALS_LOCAL_RANKID", "SLURM_LOCALID"}) {
    if (std::getenv(variable) != nullptr) {
      rank = number_in(variable);
      break;
    }
  }
  if (devices <= 1) return 0;
  if (ranks <= devices) return rank % devices;
  return std::min(rank, ranks - 1) * devices / ranks;
}

int devices_here(const std::string& kind) {
  const bool is_cuda = kind == "cuda";
  if (const char* const named = std::getenv(is_cuda ? "CUDA_VISIBLE_DEVICES" : "ZE_AFFINITY_MASK");
      named != nullptr && *named != '\0') {
    const std::string list = named;
    return 1 + static_cast<int>(std::count(list.begin(), list.end(), ','));
  }
  const std::string pattern = is_cuda ? "/dev/nvidia" : "/dev/dri/renderD";
  const int first = is_cuda ? 0 : 128;
  int count = 0;
  while (::access((pattern + std::to_string(first + count)).c_str(), F_OK) == 0) ++count;
  return std::max(1, count);
}

}  // namespace dovetail
