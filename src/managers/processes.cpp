#include "src/managers/processes.hpp"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <memory>

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

std::vector<Process> dhcp_clients(const std::vector<Process>& processes, std::string_view link) {
    std::vector<Process> result;
    std::copy_if(processes.begin(), processes.end(), std::back_inserter(result), [&](const Process& process) {
        const bool is_client =
            std::find(kDhcpClients.begin(), kDhcpClients.end(), process.program) != kDhcpClients.end();
        return is_client && std::find(process.words.begin(), process.words.end(), link) != process.words.end();
    });
    return result;
}

std::vector<std::string> ifupdown_mentions(std::string_view link, const std::string& file) {
    std::vector<std::string> mentions;
    const auto content = read_file(file, std::size_t{1} << 20);
    if (!content) return mentions;
    std::size_t number = 0;
    for (const auto line : split(*content, '\n')) {
        ++number;
        std::string spaced(line);
        std::replace(spaced.begin(), spaced.end(), '\t', ' ');
        auto words = split(spaced, ' ');
        std::erase_if(words, [](std::string_view word) { return word.empty(); });
        if (words.size() >= 2 && words[0] == "iface" && words[1] == link)
            mentions.push_back(file + ":" + std::to_string(number));
    }
    return mentions;
}

}  // namespace vmrouter::managers
