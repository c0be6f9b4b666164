// Ranks of one component that open one end of a stream together, by number or by an MPI
// communicator. MPI is the caller's: its functions are found at run time, and nothing is linked.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "dovetail/dovetail.h"
#include "error.hpp"

namespace dovetail::abi {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // How many of the ranks share this node's memory. Collective.
  virtual int ranks_on_this_node() const = 0;
  // From rank 0 to all. Collective.
  virtual void broadcast(void* bytes, int count) const = 0;
};

struct Ranks {
  std::uint32_t rank = 0, size = 1;
  std::unique_ptr<Communicator> communicator;  // nothing: the ranks find each other by the stream
};

// Throws Error(Status::argument), or Status::unavailable if there is no MPI in this process.
Ranks ranks_in(const dvt_ranks* ranks);

// Refuses a communicator whose ranks do not share a node's memory.
void require_one_node(const Ranks& ranks, const std::string& url);

// How the opening went on rank 0.
struct Announcement {
  std::int32_t failed = 0;
  std::int32_t status = 0;
  std::int32_t system_error = 0;
  std::int32_t reserved = 0;
  std::int64_t told = 0;
  char message[2000] = {};

  void set(const Error& error);
  [[noreturn]] void raise(const std::string& url) const;
};

// Opens on rank 0, tells the others how it went, and then opens there. `open` takes what rank 0
// told (-1 on rank 0 itself); an error of rank 0 is thrown on all.
template <class Open, class Tell>
auto first_on_rank_0(const Ranks& ranks, const std::string& url, Open open, Tell tell) {
  if (ranks.communicator == nullptr || ranks.size == 1) return open(-1);
  Announcement announcement;
  const auto announce = [&] {
    ranks.communicator->broadcast(&announcement, static_cast<int>(sizeof announcement));
  };
  if (ranks.rank != 0) {
    announce();
    if (announcement.failed != 0) announcement.raise(url);
    return open(announcement.told);
  }
  try {
    auto opened = open(-1);
    announcement.told = tell(*opened);
    announce();
    return opened;
  } catch (const Error& error) {
    announcement.set(error);
    announce();
    throw;
  }
}

}  // namespace dovetail::abi
