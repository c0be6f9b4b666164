#include "ranks.hpp"

#include <dlfcn.h>

#include <cstring>

#include "calls.hpp"

namespace dovetail::abi {
namespace {

template <class Function>
Function symbol(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

bool has(const char* name) { return dlsym(RTLD_DEFAULT, name) != nullptr; }

// What the headers of the three binary interfaces of MPI define as constants.
template <class Handle>
struct Constants {
  Handle byte, no_info;
  int shared_memory;
};

// Handles are whole numbers: MPICH, and all that share its binary interface (Intel, Cray, MVAPICH).
Constants<int> constants_of_mpich() { return {0x4c00010d, 0x1c000000, 1}; }
// Handles are pointers to objects of the library.
Constants<void*> constants_of_open_mpi() {
  return {dlsym(RTLD_DEFAULT, "ompi_mpi_byte"), dlsym(RTLD_DEFAULT, "ompi_mpi_info_null"), 0};
}
// Handles are pointers with fixed values: the standard binary interface of MPI 5.
Constants<void*> constants_of_the_standard() {
  return {reinterpret_cast<void*>(0x247), reinterpret_cast<void*>(0x130), 221};
}

template <class Handle>
class MpiCommunicator : public Communicator {
 public:
  MpiCommunicator(Handle handle, Constants<Handle> constants)
      : handle_(handle), constants_(constants) {
    call("MPI_Comm_rank", symbol<int (*)(Handle, int*)>("MPI_Comm_rank"), handle_, &rank_);
    call("MPI_Comm_size", symbol<int (*)(Handle, int*)>("MPI_Comm_size"), handle_, &size_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  int ranks_on_this_node() const override {
    Handle node{};
    int count = 0;
    call("MPI_Comm_split_type",
         symbol<int (*)(Handle, int, int, Handle, Handle*)>("MPI_Comm_split_type"), handle_,
         constants_.shared_memory, 0, constants_.no_info, &node);
    call("MPI_Comm_size", symbol<int (*)(Handle, int*)>("MPI_Comm_size"), node, &count);
    call("MPI_Comm_free", symbol<int (*)(Handle*)>("MPI_Comm_free"), &node);
    return count;
  }

  void broadcast(void* bytes, int count) const override {
    call("MPI_Bcast", symbol<int (*)(void*, int, Handle, int, Handle)>("MPI_Bcast"), bytes, count,
         constants_.byte, 0, handle_);
  }

 private:
  template <class Function, class... Arguments>
  static void call(const char* name, Function function, Arguments... arguments) {
    if (function == nullptr) {
      throw Error(Status::unavailable, std::string("the MPI of this process has no ") + name);
    }
    const int code = function(arguments...);
    if (code != 0) {
      throw Error(Status::system,
                  std::string(name) + " failed with the MPI error " + std::to_string(code));
    }
  }

  Handle handle_;
  Constants<Handle> constants_;
  int rank_ = 0;
  int size_ = 1;
};

template <class Handle>
std::unique_ptr<Communicator> communicator(Handle handle, Constants<Handle> constants) {
  return std::make_unique<MpiCommunicator<Handle>>(handle, constants);
}

void require_running_mpi() {
  int initialized = 0, finalized = 0;
  const auto is_initialized = symbol<int (*)(int*)>("MPI_Initialized");
  const auto is_finalized = symbol<int (*)(int*)>("MPI_Finalized");
  if (is_initialized == nullptr || is_finalized == nullptr) {
    throw Error(Status::unavailable,
                "a communicator was given, but there is no MPI in this process: link the program "
                "with MPI, or give rank and size");
  }
  is_initialized(&initialized);
  is_finalized(&finalized);
  if (initialized == 0 || finalized != 0) {
    refuse(std::string("a communicator was given, but MPI is ") +
           (finalized != 0 ? "finalized already" : "not initialized yet: call MPI_Init first"));
  }
}

std::unique_ptr<Communicator> communicator_in(const dvt_ranks& ranks) {
  if (ranks.comm == nullptr) refuse("comm is NULL; it is the address of a communicator");
  require_running_mpi();
  const bool is_fortran = ranks.comm_kind == DVT_COMM_FORTRAN;
  int number = 0;
  void* pointer = nullptr;
  if (has("ompi_mpi_comm_world") || !has("MPIR_Dup_fn")) {
    const auto is_open_mpi = has("ompi_mpi_comm_world");
    if (is_fortran) {
      std::memcpy(&number, ranks.comm, sizeof number);
      const auto* const name = is_open_mpi ? "MPI_Comm_f2c" : "MPI_Comm_fromint";
      const auto from_fortran = symbol<void* (*)(int)>(name);
      if (from_fortran == nullptr) {
        throw Error(Status::unavailable, std::string("the MPI of this process has no ") + name);
      }
      pointer = from_fortran(number);
    } else {
      std::memcpy(&pointer, ranks.comm, sizeof pointer);
    }
    return communicator(pointer,
                        is_open_mpi ? constants_of_open_mpi() : constants_of_the_standard());
  }
  std::memcpy(&number, ranks.comm, sizeof number);
  return communicator(number, constants_of_mpich());
}

}  // namespace

Ranks ranks_in(const dvt_ranks* given) {
  Ranks ranks;
  if (given == nullptr) return ranks;
  if (given->comm_kind == DVT_COMM_C || given->comm_kind == DVT_COMM_FORTRAN) {
    ranks.communicator = communicator_in(*given);
    ranks.rank = static_cast<std::uint32_t>(ranks.communicator->rank());
    ranks.size = static_cast<std::uint32_t>(ranks.communicator->size());
    return ranks;
  }
  if (given->comm_kind != DVT_NO_COMM) {
    refuse("comm_kind is " + std::to_string(given->comm_kind) + ", which is none of dvt_comm_kind");
  }
  if (given->size < 1 || given->rank < 0 || given->rank >= given->size) {
    refuse("rank=" + std::to_string(given->rank) + ", size=" + std::to_string(given->size) +
           ": the rank must be 0 to size - 1");
  }
  ranks.rank = static_cast<std::uint32_t>(given->rank);
  ranks.size = static_cast<std::uint32_t>(given->size);
  return ranks;
}

void require_one_node(const Ranks& ranks, const std::string& url) {
  if (ranks.communicator == nullptr || ranks.size == 1) return;
  const auto here = static_cast<std::uint32_t>(ranks.communicator->ranks_on_this_node());
  if (here == ranks.size) return;
  throw Error(Status::capability,
              url + " lies in the memory of one node, but the communicator spans several (" +
                  std::to_string(here) + " of " + std::to_string(ranks.size) +
                  " ranks are on this one): open a stream a node, or use an engine that reaches " +
                  "across nodes");
}

void Announcement::set(const Error& error) {
  failed = 1;
  status = static_cast<std::int32_t>(error.status);
  system_error = error.system_error;
  std::strncpy(message, error.what(), sizeof message - 1);
}

void Announcement::raise(const std::string& url) const {
  throw Error(static_cast<Status>(status), "rank 0 could not open " + url + ": " + message,
              system_error);
}

}  // namespace dovetail::abi
