#include "model_messages.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace dovetail {

namespace {

sockaddr_un address_in(const std::string& folder) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto path = folder + "/socket";
  if (path.size() >= sizeof address.sun_path) {
    throw_system_error("cannot make a socket of so long a name as", path, ENAMETOOLONG);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

Fd new_socket() {
  Fd made(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!made) throw_system_error("cannot make", "a socket", errno);
  return made;
}

}  // namespace

Fd listen_in(const std::string& folder) {
  const auto address = address_in(folder);
  Fd made = new_socket();
  ::unlink(address.sun_path);
  if (::bind(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(made.get(), 1024) != 0) {
    throw_system_error("cannot listen at", address.sun_path, errno);
  }
  return made;
}

Fd connect_in(const std::string& folder) {
  const auto address = address_in(folder);
  Fd made = new_socket();
  int failed = 0;
  do {
    failed = ::connect(made.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } while (failed != 0 && errno == EINTR);
  if (failed == 0) return made;
  if (errno == ENOENT || errno == ECONNREFUSED) return Fd();
  throw_system_error("cannot connect to", address.sun_path, errno);
}

Fd accept_from(int listening) { return Fd(::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC)); }

bool send_message(int socket, const ModelMessage& message, int file) {
  iovec part{const_cast<ModelMessage*>(&message), sizeof message};
  msghdr sent{};
  sent.msg_iov = &part;
  sent.msg_iovlen = 1;
  alignas(cmsghdr) char beside[CMSG_SPACE(sizeof(int))]{};
  if (file >= 0) {
    sent.msg_control = beside;
    sent.msg_controllen = sizeof beside;
    cmsghdr* const header = CMSG_FIRSTHDR(&sent);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &file, sizeof file);
  }
  ssize_t count = 0;
  do {
    count = ::sendmsg(socket, &sent, MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  return count == static_cast<ssize_t>(sizeof message);
}

bool receive_message(int socket, ModelMessage& message, Fd& file, const Deadline& deadline) {
  for (;;) {
    pollfd polled{socket, POLLIN, 0};
    const auto left = deadline.remaining_ns() / 1'000'000;
    const int ready = ::poll(&polled, 1, static_cast<int>(std::min<std::int64_t>(left + 1, 1000)));
    if (ready < 0 && errno != EINTR) return false;
    if (ready > 0) break;
    if (deadline.passed()) return false;
  }
  iovec part{&message, sizeof message};
  alignas(cmsghdr) char beside[CMSG_SPACE(sizeof(int))]{};
  msghdr got{};
  got.msg_iov = &part;
  got.msg_iovlen = 1;
  got.msg_control = beside;
  got.msg_controllen = sizeof beside;
  ssize_t count = 0;
  do {
    count = ::recvmsg(socket, &got, MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  for (cmsghdr* header = CMSG_FIRSTHDR(&got); header != nullptr;
       header = CMSG_NXTHDR(&got, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int sent = -1;
    std::memcpy(&sent, CMSG_DATA(header), sizeof sent);
    file = Fd(sent);
  }
  if (count != static_cast<ssize_t>(sizeof message)) return false;
  message.text[sizeof message.text - 1] = '\0';
  return true;
}

bool has_hung_up(int socket) {
  pollfd polled{socket, POLLRDHUP, 0};
  return ::poll(&polled, 1, 0) > 0 && (polled.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void copy_text(char* to, std::size_t size, const std::string& text) {
  const auto count = std::min(text.size(), size - 1);
  std::memcpy(to, text.data(), count);
  to[count] = '\0';
}

ModelMessage refusal_of(const Error& error) {
  ModelMessage message;
  message.kind = ModelMessage::refused;
  message.number = static_cast<std::uint64_t>(error.status);
  copy_text(message.text, sizeof message.text, error.what());
  return message;
}

}  // namespace dovetail
