// What a rank and the model server of its node say to each other beside the calls: joining, another
// region, other weights. One message each way, over a Unix socket, which also tells either side
// that the other is gone.
#pragma once

#include <sched.h>

#include <cstdint>
#include <string>

#include "clock.hpp"
#include "error.hpp"
#include "posix.hpp"

namespace dovetail {

struct ModelMessage {
  enum Kind : std::uint32_t {
    join = 1,  // a rank: with its region; `processors` are those it may run on
    region,    // a rank: with another region, instead
    weights,   // a rank: with bytes that hold all weights, in order, each aligned
    drop,      // a rank: done with the weights `number`; not answered
    done,      // the server: `number` is its process, or of weights; with its board after a join
    refused    // the server: `number` is the status, `text` says why
  };
  static constexpr std::uint32_t version_here = 1;

  std::uint32_t kind = 0;
  std::uint32_t version = version_here;
  std::uint64_t number = 0;
  cpu_set_t processors{};
  char text[1024]{};
};

// A socket in a folder; Error(Status::system) if the folder's name is too long for one.
Fd listen_in(const std::string& folder);
// Nothing if nobody listens there.
Fd connect_in(const std::string& folder);
Fd accept_from(int listening);

// False if the other side is gone.
bool send_message(int socket, const ModelMessage& message, int file = -1);
// Waits for one. False if the other side is gone, or at the deadline; `file` is what came along.
bool receive_message(int socket, ModelMessage& message, Fd& file, const Deadline& deadline);
bool has_hung_up(int socket);

ModelMessage refusal_of(const Error& error);
void copy_text(char* to, std::size_t size, const std::string& text);

}  // namespace dovetail
