#include "src/commands/libvirt_xml.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <ostream>
#include <vector>

#include "conf/load.hpp"
#include "src/base/file.hpp"
#include "src/base/text.hpp"
#include "src/commands/answers.hpp"
#include "src/commands/instance.hpp"
#include "src/commands/words.hpp"

namespace vmrouter {
namespace {

/// The bridge of the configuration, or of the instance that runs.
Result<std::string> bridge_of(const cli::Instance& instance, const Folders& folders) {
    const auto no_bridge = [](const std::string& where) {
        return Failure{Error{"libvirt's networks are bridges, and this is none", where,
                             "in virt-manager choose \"Macvtap device\", or serve a bridge (network.bridge)"}};
    };
    if (!instance.file.empty()) {
        const auto config = conf::load_file(instance.file).config;
        if (!config.network.bridge) return no_bridge(instance.file);
        return *config.network.bridge;
    }
    const auto status = ask(instance, {{"command", "status"}}, folders);
    if (!status) return Failure{status.error()};
    const auto segment = status->value("segment", nlohmann::json());
    if (!segment.is_object() || text_of(segment, "kind") != "bridge") return no_bridge(text_of(*status, "instance"));
    const auto bridge = text_of(segment, "interface");
    if (!is_interface_name(bridge)) return no_bridge(escape(bridge));
    return bridge;
}

/// A file that is gone at the end.
class TemporaryFile {
public:
    static Result<TemporaryFile> with(const std::string& text) {
        std::string path = "/tmp/vmrouter-network-XXXXXX";
        const FileDescriptor file(mkstemp(path.data()));
        if (!file) return Failure{system_error("cannot write the definition", errno, path)};
        TemporaryFile made(path);
        if (const int failed = write_all(file.get(), text); failed != 0)
            return Failure{system_error("cannot write the definition", failed, path)};
        return made;
    }
    TemporaryFile(TemporaryFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    TemporaryFile& operator=(TemporaryFile&&) = delete;
    ~TemporaryFile() {
        if (!path_.empty()) unlink(path_.c_str());
    }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
    std::string path_;
};

/// Runs a program to its end, in English; its exit status. What it says goes where our own output goes, or into `said`
/// (and its complaints nowhere).
Result<int> run_here(const std::vector<std::string>& words, std::string* said = nullptr) {
    std::vector<std::string> copy = words;
    std::vector<char*> arguments;
    for (auto& word : copy) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return Failure{system_error("cannot make a pipe", errno)};
    const FileDescriptor in(ends[0]);
    FileDescriptor out(ends[1]);
    const pid_t child = fork();
    if (child < 0) return Failure{system_error("cannot start a program", errno, words.front())};
    if (child == 0) {
        setenv("LC_ALL", "C", 1);
        if (said != nullptr) {
            dup2(out.get(), STDOUT_FILENO);
            if (const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC); nowhere >= 0) dup2(nowhere, STDERR_FILENO);
        }
        execvp(arguments.front(), arguments.data());
        _exit(errno == ENOENT ? 127 : 126);
    }
    out.reset();
    std::array<char, 1024> part{};
    for (auto size = read(in.get(), part.data(), part.size()); size > 0 || (size < 0 && errno == EINTR);
         size = read(in.get(), part.data(), part.size()))
        if (size > 0 && said != nullptr) said->append(part.data(), static_cast<std::size_t>(size));
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// "Active: yes" among the lines of `virsh net-info`.
bool says_active(const std::string& info) {
    for (const auto line : split(info, '\n'))
        if (line.starts_with("Active:") && trim(line.substr(7)) == "yes") return true;
    return false;
}

int define(const std::string& bridge, std::ostream& out, std::ostream& err) {
    const std::string name = "vmrouter-" + bridge;
    const auto file = TemporaryFile::with(network_xml(bridge));
    if (!file) return fail(err, file.error());
    std::string info;
    const auto known = run_here({"virsh", "--quiet", "net-info", name}, &info);
    if (!known) return fail(err, known.error());
    // One virsh for all of it: with libvirt's test driver nothing outlives the connection.
    std::string commands = *known == 0 ? "" : "net-define " + file->path() + "; ";
    commands += "net-autostart " + name;
    if (*known != 0 || !says_active(info)) commands += "; net-start " + name;
    out << std::flush;
    const auto status = run_here({"virsh", "--quiet", commands});
    if (!status) return fail(err, status.error());
    constexpr int not_found = 127;
    if (*status == not_found) return fail(err, {"there is no virsh", {}, "apt install libvirt-clients"});
    if (*status != 0)
        return fail(err, {"virsh refused the network", name,
                          "`virsh net-list --all` shows those that there are; `virsh net-undefine NAME` removes one"});
    out << "virt-manager > NIC > Network source > Virtual network '" << name << "'\n";
    return 0;
}

}  // namespace

std::string network_xml(const std::string& bridge) {
    return "<network>\n  <name>vmrouter-" + bridge + "</name>\n  <forward mode='bridge'/>\n  <bridge name='" + bridge +
           "'/>\n</network>\n";
}

int libvirt_xml(const cli::LibvirtXml& options, std::ostream& out, std::ostream& err, const Folders& folders) {
    const auto bridge = bridge_of(options.instance, folders);
    if (!bridge) return fail(err, bridge.error());
    if (options.define) return define(*bridge, out, err);
    out << network_xml(*bridge);
    return 0;
}

}  // namespace vmrouter
