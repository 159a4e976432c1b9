#include "src/commands/libvirt_xml.hpp"

#include <sys/wait.h>
#include <unistd.h>

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

/// Runs a program to its end with our own output; its exit status.
Result<int> run_here(const std::vector<std::string>& words) {
    std::vector<std::string> copy = words;
    std::vector<char*> arguments;
    for (auto& word : copy) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    const pid_t child = fork();
    if (child < 0) return Failure{system_error("cannot start a program", errno, words.front())};
    if (child == 0) {
        execvp(arguments.front(), arguments.data());
        _exit(errno == ENOENT ? 127 : 126);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int define(const std::string& bridge, std::ostream& out, std::ostream& err) {
    const auto file = TemporaryFile::with(network_xml(bridge));
    if (!file) return fail(err, file.error());
    // One virsh for all of it: with libvirt's test driver nothing outlives the connection.
    const std::string commands =
        "net-define " + file->path() + "; net-autostart vmrouter-" + bridge + "; net-start vmrouter-" + bridge;
    out << std::flush;
    const auto status = run_here({"virsh", "--quiet", commands});
    if (!status) return fail(err, status.error());
    constexpr int not_found = 127;
    if (*status == not_found) return fail(err, {"there is no virsh", {}, "apt install libvirt-clients"});
    if (*status != 0)
        return fail(err, {"virsh refused the network", "vmrouter-" + bridge,
                          "`virsh net-list --all` shows those that there are; `virsh net-undefine NAME` removes one"});
    out << "virt-manager > NIC > Network source > Virtual network 'vmrouter-" << bridge << "'\n";
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
