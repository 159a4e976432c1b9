#include "src/managers/processes.hpp"

#include <dirent.h>
#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>
#include <span>

#include "src/base/file.hpp"
#include "src/base/text.hpp"

namespace vmrouter::managers {
namespace {

constexpr std::size_t kCommSize = 15;
constexpr std::array<std::string_view, 4> kDhcpClients{"dhclient", "dhcpcd", "udhcpc", "pump"};

struct CloseFolder {
    void operator()(DIR* folder) const { closedir(folder); }
};

/// The inode of a network namespace; 0: unknown.
ino_t network_of(const std::string& process) {
    struct stat info {};
    return stat((process + "/ns/net").c_str(), &info) == 0 ? info.st_ino : 0;
}

std::vector<std::string> split_words(const std::string& command_line) {
    std::vector<std::string> words;
    for (const auto word : split(command_line, '\0')) words.emplace_back(word);
    if (!words.empty() && words.back().empty()) words.pop_back();
    return words;
}

}  // namespace

std::vector<Process> processes(const std::string& proc) {
    std::vector<Process> result;
    const ino_t own = network_of("/proc/thread-self");
    const std::unique_ptr<DIR, CloseFolder> folder(opendir(proc.c_str()));
    while (const dirent* entry = folder ? readdir(folder.get()) : nullptr) {
        const auto pid = parse_number(&entry->d_name[0], INT32_MAX);
        if (!pid) continue;
        const std::string place = proc + "/" + &entry->d_name[0];
        if (const ino_t network = network_of(place); network != 0 && network != own) continue;
        const auto program = read_file(place + "/comm", 4096);
        if (!program) continue;  // ended meanwhile
        const auto words = read_file(place + "/cmdline", std::size_t{1} << 20);
        result.push_back({static_cast<pid_t>(*pid), escape(trim(*program)),
                          words ? split_words(*words) : std::vector<std::string>()});
    }
    std::sort(result.begin(), result.end(), [](const Process& a, const Process& b) { return a.pid < b.pid; });
    return result;
}

bool is_running(const std::vector<Process>& processes, std::string_view program) {
    return std::any_of(processes.begin(), processes.end(),
                       [&](const Process& process) { return process.program == program.substr(0, kCommSize); });
}

namespace {

/// dhcpcd overwrites its command line: "dhcpcd: enp6s0 [ip4]" for one interface, "dhcpcd: [manager] [ip4] [ip6]" for
/// all
/// ("[master]" before version 10). Its helpers ("[network proxy]", "[BPF ARP] enp6s0") end with it.
bool serves(const Process& process, std::string_view link) {
    if (process.words.size() == 1 && process.words[0].starts_with("dhcpcd: ")) {
        const auto title = split(process.words[0], ' ');
        return title[1] == link || title[1] == "[manager]" || title[1] == "[master]";
    }
    return std::find(process.words.begin(), process.words.end(), link) != process.words.end();
}

std::vector<std::string_view> words_of(const std::string& line) {
    auto words = split(line, ' ');
    std::erase_if(words, [](std::string_view word) { return word.empty(); });
    return words;
}

/// The files that a line "source PATTERN..." or "source-directory FOLDER..." of ifupdown names.
std::vector<std::string> included(const std::vector<std::string_view>& words, const std::string& file) {
    std::vector<std::string> files;
    for (const auto word : std::span(words).subspan(1)) {
        std::string pattern(word);
        if (!pattern.starts_with('/')) pattern = file.substr(0, file.rfind('/') + 1) + pattern;
        if (words[0] == "source-directory") pattern += "/*";
        glob_t found{};
        if (glob(pattern.c_str(), 0, nullptr, &found) == 0)
            files.insert(files.end(), found.gl_pathv, found.gl_pathv + found.gl_pathc);
        globfree(&found);
    }
    return files;
}

void find_mentions(std::string_view link, const std::string& file, int depth, std::vector<std::string>& mentions) {
    const auto content = read_file(file, std::size_t{1} << 20);
    if (!content || depth == 0) return;
    std::size_t number = 0;
    for (const auto line : split(*content, '\n')) {
        ++number;
        std::string spaced(line);
        std::replace(spaced.begin(), spaced.end(), '\t', ' ');
        const auto words = words_of(spaced);
        if (words.size() < 2) continue;
        if (words[0] == "source" || words[0] == "source-directory") {
            for (const auto& other : included(words, file)) find_mentions(link, other, depth - 1, mentions);
        } else if (words[0] == "iface" && words[1] == link && (words.size() < 4 || words[3] != "manual")) {
            mentions.push_back(file + ":" + std::to_string(number));
        }
    }
}

}  // namespace

std::vector<Process> dhcp_clients(const std::vector<Process>& processes, std::string_view link) {
    std::vector<Process> result;
    std::copy_if(processes.begin(), processes.end(), std::back_inserter(result), [&](const Process& process) {
        const bool is_client =
            std::find(kDhcpClients.begin(), kDhcpClients.end(), process.program) != kDhcpClients.end();
        return is_client && serves(process, link);
    });
    return result;
}

std::vector<std::string> ifupdown_mentions(std::string_view link, const std::string& file) {
    std::vector<std::string> mentions;
    find_mentions(link, file, 4, mentions);
    return mentions;
}

}  // namespace vmrouter::managers
