#include "redis_place.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "error.hpp"
#include "utf8.hpp"

namespace dovetail::redis {
namespace {

constexpr std::uint64_t largest_chunk = 512u << 20;  // a server takes no longer string
constexpr std::uint64_t usual_chunk = 256u << 20;
constexpr std::size_t longest_socket = 107, longest_name = 200;
constexpr const char* default_name = "default";

[[noreturn]] void invalid(const std::string& message) { throw Error(Status::invalid_url, message); }

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_number(const std::string& text, std::size_t most) {
  return !text.empty() && text.size() <= most && std::all_of(text.begin(), text.end(), is_digit);
}

std::string without_password(const Url& url) {
  const auto at = url.location.rfind('@');
  if (at == std::string::npos || url.scheme == "redis+unix") return url.location;
  const auto user = url.location.substr(0, std::min(url.location.find(':'), at));
  return (user.empty() ? "" : user + "@") + url.location.substr(at + 1);
}

std::string label_of(const Url& url) {
  const auto* const name = url.option("name");
  return url.scheme + "://" + without_password(url) + (name == nullptr ? "" : "?name=" + *name);
}

std::string checked_name(const std::string& name) {
  const bool sound =
      !name.empty() && name.size() <= longest_name &&
      (is_letter(name[0]) || is_digit(name[0]) || name[0] == '_') &&
      std::all_of(name.begin(), name.end(), [](char c) {
        return is_letter(c) || is_digit(c) || (c != '\0' && std::strchr("_.+@-", c) != nullptr);
      });
  if (!sound) {
    invalid("the store's name '" + name.substr(0, 80) +
            "' is not of letters, digits and _.+@- (at most 200, beginning with a letter, a digit "
            "or _): write redis://host:port/name");
  }
  return name;
}

Address address_in(const std::string& text, const Url& url) {
  Address address;
  auto rest = text;
  if (!text.empty() && text[0] == '[' && text.find(']') != std::string::npos) {
    const auto end = text.find(']');
    address.host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
  } else {
    const auto colon = std::min(text.find(':'), text.size());
    address.host = text.substr(0, colon);
    rest = text.substr(colon);
  }
  const bool has_port = !rest.empty();
  const bool sound_port = !has_port || (rest[0] == ':' && is_number(rest.substr(1), 5));
  if (has_port && sound_port) address.port = std::atoi(rest.c_str() + 1);
  if (address.host.empty() || address.host.find_first_of("[] \t\r\n\f\v") != std::string::npos ||
      !sound_port || address.port < 1 || address.port > 65535) {
    invalid("'" + text.substr(0, 80) + "' in " + label_of(url) +
            " is no host and port: write host:port");
  }
  return address;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text + at);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

void read_hosts(const Url& url, Place& place) {
  const auto at = url.location.rfind('@');
  auto rest = url.location;
  if (at != std::string::npos) {
    const auto account = url.location.substr(0, at);
    const auto colon = account.find(':');
    place.access.user = percent_decoded(account.substr(0, colon));
    if (colon != std::string::npos) {
      place.access.password = percent_decoded(account.substr(colon + 1));
    }
    rest = url.location.substr(at + 1);
  }
  auto parts = split(rest, '/');
  const auto hosts = parts.empty() ? "" : parts.front();
  if (!parts.empty()) parts.erase(parts.begin());
  parts.erase(std::remove(parts.begin(), parts.end(), ""), parts.end());
  if (!place.cluster && !parts.empty() && std::all_of(parts[0].begin(), parts[0].end(), is_digit)) {
    place.db = std::atoi(parts[0].substr(0, 9).c_str());
    parts.erase(parts.begin());
  }
  if (parts.size() > 1) {
    invalid(label_of(url) + " has " + std::to_string(parts.size()) +
            " parts where one name is expected: write " + url.scheme + "://host:port/name");
  }
  if (hosts.empty()) {
    invalid(url.scheme + ":// needs a host: write " + url.scheme +
            "://host:port/name. (In a workflow redis:// alone starts a server for the run.)");
  }
  place.name = checked_name(parts.empty() ? default_name : percent_decoded(parts[0]));
  for (const auto& text : place.cluster ? split(hosts, ',') : std::vector<std::string>{hosts}) {
    place.addresses.push_back(address_in(text, url));
  }
}

void read_socket(const Url& url, Place& place) {
  const auto& path = url.location;
  if (path.empty() || path[0] != '/') {
    invalid(label_of(url) +
            " must name an absolute path: write redis+unix:///path/to/socket, with three slashes");
  }
  if (path.size() > longest_socket) {
    invalid("the path of the socket " + path.substr(0, 80) + "... has " +
            std::to_string(path.size()) + " bytes; the system takes " +
            std::to_string(longest_socket) + ": put it into a shorter folder");
  }
  const auto* const db = url.option("db");
  if (db != nullptr && !is_number(*db, 9)) invalid("db='" + *db + "' is no number of a database");
  place.db = db == nullptr ? 0 : std::atoi(db->c_str());
  const auto* const name = url.option("name");
  place.name = checked_name(name == nullptr ? default_name : *name);
  Address address;
  address.socket = path;
  place.addresses.push_back(address);
}

std::string trimmed(const std::string& text) {
  const char* const blanks = " \t\n\r\f\v";
  const auto begin = text.find_first_not_of(blanks);
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

std::string text_of_file(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file || !is_utf8(text.str())) {
    invalid("password_file=" + path + ": " + std::strerror(file && errno == 0 ? EILSEQ : errno));
  }
  return trimmed(text.str());
}

void read_secrets(const Url& url, Access& access) {
  const auto* const user = url.option("user");
  const auto* const file = url.option("password_file");
  const auto* const variable = url.option("password_env");
  const int given = (file != nullptr) + (variable != nullptr) + !access.password.empty();
  if (given > 1) {
    invalid("give the password once: in the URL, or as password_file, or as password_env");
  }
  if (user != nullptr && !access.user.empty()) {
    invalid("give the user once: in the URL, or as an option");
  }
  if (user != nullptr) access.user = *user;
  if (file != nullptr) access.password = text_of_file(*file);
  if (variable != nullptr) {
    const char* const text = std::getenv(variable->c_str());
    if (text == nullptr) {
      invalid("password_env=" + *variable + ": there is no such variable; set it");
    }
    access.password = text;
  }
}

// The same with files named so that every process finds them.
std::string absolute(Url url) {
  char here[PATH_MAX];
  for (auto& [name, text] : url.options) {
    const bool is_file = name == "password_file";
    if (is_file && (text.empty() || text[0] != '/') && getcwd(here, sizeof here) != nullptr) {
      text = std::string(here) + "/" + text;
    }
  }
  return url.text();
}

void check_options(const Url& url) {
  if (url.scheme == "redis+unix") {
    url.only({"capacity", "db", "name", "chunk", "user", "password_file", "password_env"});
  } else if (url.scheme == "redis") {
    url.only({"capacity", "chunk", "user", "password_file", "password_env"});
  } else if (url.scheme == "rediss") {
    url.only({"capacity", "chunk", "user", "password_file", "password_env", "ca", "cert", "key",
              "server_name"});
  } else {
    url.only({"capacity", "chunk", "user", "password_file", "password_env", "tls", "ca", "cert",
              "key", "server_name"});
  }
}

}  // namespace

std::string Address::text() const {
  if (!socket.empty()) return socket;
  const bool is_v6 = host.find(':') != std::string::npos;
  return (is_v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Place place_of(const Url& url) {
  check_options(url);
  Place place;
  place.cluster = url.scheme == "redis+cluster";
  place.capacity = url.bytes_option("capacity");
  place.chunk = url.bytes_option("chunk").value_or(usual_chunk);
  if (place.chunk > largest_chunk) {
    invalid("chunk=" + std::to_string(place.chunk) + ": a server takes at most 512MiB");
  }
  if (url.scheme == "redis+unix") {
    read_socket(url, place);
  } else {
    read_hosts(url, place);
  }
  read_secrets(url, place.access);
  if (url.scheme == "rediss" ||
      (place.cluster && url.choice_option("tls", {"no", "yes"}) == "yes")) {
    throw Error(Status::unavailable,
                label_of(url) +
                    ": TLS is not spoken from C, C++ and Fortran. Reach the server without TLS "
                    "(redis://, redis+unix://, redis+cluster://), or from Python");
  }
  place.url = absolute(url);
  place.label = label_of(url);
  return place;
}

}  // namespace dovetail::redis
