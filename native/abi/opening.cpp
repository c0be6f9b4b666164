// Which store a URL stands for.
#include <sys/stat.h>

#include "local_store.hpp"
#include "redis_store.hpp"
#include "stores.hpp"
#include "url.hpp"

namespace dovetail::abi {
namespace {

std::shared_ptr<OpenStore> open_folder(Url url) {
  url.only({"capacity", "create", "recycle", "wait"});
  LocalStoreOptions options;
  options.recycle = url.choice_option("recycle", {"yes", "no"}) == "yes";
  options.poll = url.choice_option("wait", {"wake", "poll"}) == "poll";
  options.path = folder_of(url, Purpose::store);
  const bool creates = url.choice_option("create", {"yes", "no"}) == "yes";
  url = url.without("create");
  struct stat status{};
  if (!creates && stat(options.path.c_str(), &status) != 0) {
    throw Error(Status::key_not_found, "there is no store " + url.text());
  }
  options.label = url.text();
  options.capacity = url.bytes_option("capacity").value_or(0);
  options.own_folder = url.scheme == "shm";
  auto core = std::make_unique<LocalStore>(options);
  return std::shared_ptr<OpenStore>(
      new OpenStore{options.label, options.label, options.path, std::move(core)});
}

std::shared_ptr<OpenStore> open_servers(const Url& url, double timeout) {
  const auto place = redis::place_of(url);
  auto core = std::make_unique<redis::RedisStore>(place, timeout);
  return std::shared_ptr<OpenStore>(new OpenStore{place.url, place.label, "", std::move(core)});
}

}  // namespace

std::shared_ptr<OpenStore> open_store(const std::string& text, double timeout) {
  const auto url = parse_url(text, Purpose::store);
  const bool is_folder = url.scheme == "shm" || url.scheme == "file";
  return is_folder ? open_folder(url) : open_servers(url, timeout);
}

}  // namespace dovetail::abi
