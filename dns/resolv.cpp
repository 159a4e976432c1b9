#include "dns/resolv.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <asio/use_awaitable.hpp>
#include <utility>

#include "src/base/file.hpp"
#include "src/base/text.hpp"

namespace vmrouter::dns {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t max_nameservers = 16;
constexpr std::size_t max_file_size = 1 << 20;

// A file without a name server is looked at twice before everybody is told that there is none.
constexpr auto second_look = 300ms;

std::vector<std::string_view> words(std::string_view line) {
    std::vector<std::string_view> found;
    while (true) {
        const auto begin = line.find_first_not_of(" \t\r\v\f");
        if (begin == std::string_view::npos) return found;
        const auto end = std::min(line.find_first_of(" \t\r\v\f", begin), line.size());
        found.push_back(line.substr(begin, end - begin));
        line.remove_prefix(end);
    }
}

std::string search_domain(std::string_view word) {
    while (word.ends_with('.')) word.remove_suffix(1);
    return to_lower(word);
}

void add_nameserver(ResolvConf& conf, std::string_view word, std::size_t number) {
    // "nameserver 0.0.0.0" is an old way to say "this machine" (resolv.conf(5) of glibc and BSD understand it).
    const auto endpoint = Endpoint::parse(word == "0.0.0.0" ? "127.0.0.1" : word == "::" ? "::1" : word);
    if (!endpoint) {
        conf.complaints.push_back(fmt::format("line {}: '{}' is not an address", number, escape(word, 64)));
        return;
    }
    if (std::find(conf.nameservers.begin(), conf.nameservers.end(), *endpoint) != conf.nameservers.end()) return;
    if (conf.nameservers.size() == max_nameservers) {
        conf.complaints.push_back(fmt::format("line {}: more than {} name servers", number, max_nameservers));
        return;
    }
    conf.nameservers.push_back(*endpoint);
}

}  // namespace

ResolvConf parse_resolv_conf(std::string_view text) {
    ResolvConf conf;
    std::size_t number = 0;
    for (const auto raw : split(text, '\n')) {
        ++number;
        const auto line = words(raw);
        if (line.empty() || line[0].starts_with('#') || line[0].starts_with(';')) continue;
        if (line[0] == "nameserver") {
            add_nameserver(conf, line.size() > 1 ? line[1] : "", number);
        } else if (line[0] == "search" || line[0] == "domain") {
            conf.search.clear();  // the last one wins, of either kind
            for (std::size_t i = 1; i < line.size() && !line[i].starts_with('#') && !line[i].starts_with(';'); ++i) {
                if (auto domain = search_domain(line[i]); !domain.empty()) conf.search.push_back(std::move(domain));
                if (line[0] == "domain") break;
            }
        }
    }
    return conf;
}

ResolvConf read_resolv_conf(const std::string& path) {
    const auto text = read_file(path, max_file_size);
    if (!text) {
        ResolvConf none;
        none.complaints.push_back(to_string(text.error()));
        return none;
    }
    return parse_resolv_conf(*text);
}

std::string resolv_conf_for_device(const std::string& path, const std::string& behind_stub) {
    const auto servers = read_resolv_conf(path).nameservers;
    const bool only_stub = !servers.empty() && std::all_of(servers.begin(), servers.end(), [](const Endpoint& server) {
        const auto* ip4 = std::get_if<Ipv4>(&server.address);
        return ip4 != nullptr && (*ip4 == Ipv4{127, 0, 0, 53} || *ip4 == Ipv4{127, 0, 0, 54});
    });
    return only_stub && !read_resolv_conf(behind_stub).nameservers.empty() ? behind_stub : path;
}

ResolvWatcher::ResolvWatcher(asio::any_io_executor executor, std::string path)
    : file_(std::move(executor), std::move(path)), current_(read_resolv_conf(file_.path())) {}

asio::awaitable<ResolvConf> ResolvWatcher::changed() {
    for (;;) {
        co_await file_.changed();
        auto found = read_resolv_conf(file_.path());
        if (found.nameservers.empty() && !current_.nameservers.empty()) {
            co_await file_.changed_within(second_look);
            found = read_resolv_conf(file_.path());
        }
        if (found == current_) continue;
        current_ = found;
        co_return found;
    }
}

}  // namespace vmrouter::dns
