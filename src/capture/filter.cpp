#include "src/capture/filter.hpp"

#include <dlfcn.h>
#include <pcap/pcap.h>

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "src/base/text.hpp"
#include "src/capture/pcapng.hpp"

namespace vmrouter::recording {
namespace {

/// The functions of libpcap that we use.
struct Library {
    static Result<Library> load() {
        void* handle = dlopen("libpcap.so.0.8", RTLD_NOW | RTLD_LOCAL);
        if (handle == nullptr) handle = dlopen("libpcap.so.1", RTLD_NOW | RTLD_LOCAL);  // its name outside Debian
        if (handle == nullptr)
            return Failure{Error{"there is no libpcap, which understands filter expressions", "--filter",
                                 "apt install libpcap0.8; without --filter nothing is needed"}};
        Library library;
        bool complete = true;
        const auto find = [&](auto& function, const char* name) {
            function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
            complete &= function != nullptr;
        };
        find(library.open_dead, "pcap_open_dead");
        find(library.compile, "pcap_compile");
        find(library.error, "pcap_geterr");
        find(library.close, "pcap_close");
        find(library.free_code, "pcap_freecode");
        find(library.matches, "pcap_offline_filter");
        if (!complete) return Failure{Error{"this libpcap lacks functions", "--filter", {}}};
        return library;
    }

    decltype(&pcap_open_dead) open_dead = nullptr;
    decltype(&pcap_compile) compile = nullptr;
    decltype(&pcap_geterr) error = nullptr;
    decltype(&pcap_close) close = nullptr;
    decltype(&pcap_freecode) free_code = nullptr;
    decltype(&pcap_offline_filter) matches = nullptr;
};

sock_filter statement(unsigned code, std::uint32_t value) {
    return {static_cast<std::uint16_t>(code), 0, 0, value};
}
sock_filter jump(unsigned code, std::uint32_t value, std::uint8_t when_true, std::uint8_t when_false) {
    return {static_cast<std::uint16_t>(code), when_true, when_false, value};
}

constexpr std::uint32_t all = pcapng::snap_length;

/// Everything with a VLAN tag passes; what follows judges the rest.
std::vector<sock_filter> tagged_pass() {
    return {statement(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT)),
            jump(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), statement(BPF_RET | BPF_K, all)};
}

/// Frames from or to one address: four bytes and two bytes of either, at 6 and at 0.
std::vector<sock_filter> host_program(const MacAddress& mac) {
    Reader reader(mac.bytes);
    const auto high = reader.u32();
    const auto low = reader.u16();
    return {statement(BPF_LD | BPF_W | BPF_ABS, 6),  jump(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 2),
            statement(BPF_LD | BPF_H | BPF_ABS, 10), jump(BPF_JMP | BPF_JEQ | BPF_K, low, 4, 0),
            statement(BPF_LD | BPF_W | BPF_ABS, 0),  jump(BPF_JMP | BPF_JEQ | BPF_K, high, 0, 3),
            statement(BPF_LD | BPF_H | BPF_ABS, 4),  jump(BPF_JMP | BPF_JEQ | BPF_K, low, 0, 1),
            statement(BPF_RET | BPF_K, all),         statement(BPF_RET | BPF_K, 0)};
}

}  // namespace

struct Filter::Program {
    explicit Program(const Library& functions) : library(functions) {}
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;
    ~Program() { library.free_code(&code); }

    Library library;
    mutable bpf_program code{};
};

Result<Filter> Filter::make(const std::optional<MacAddress>& guest, const std::string& expression) {
    Filter filter;
    filter.guest_ = guest;
    if (guest) {
        filter.kernel_ = tagged_pass();
        const auto host = host_program(*guest);
        filter.kernel_.insert(filter.kernel_.end(), host.begin(), host.end());
    }
    if (expression.empty()) return filter;

    auto library = Library::load();
    if (!library) return Failure{std::move(library).error()};
    const std::unique_ptr<pcap_t, decltype(&pcap_close)> dead(
        library->open_dead(DLT_EN10MB, static_cast<int>(pcapng::snap_length)), library->close);
    if (!dead) return Failure{Error{"libpcap is out of memory", "--filter", {}}};
    auto program = std::make_shared<Program>(*library);
    if (library->compile(dead.get(), &program->code, expression.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0)
        return Failure{Error{escape(library->error(dead.get())), "--filter '" + escape(expression) + "'",
                             "man pcap-filter; for example 'udp port 53' or 'not arp'"}};
    if (!guest) {
        filter.kernel_ = tagged_pass();
        for (unsigned i = 0; i < program->code.bf_len; ++i) {
            const auto& one = program->code.bf_insns[i];
            filter.kernel_.push_back({one.code, one.jt, one.jf, one.k});
        }
    }
    filter.program_ = std::move(program);
    return filter;
}

bool Filter::matches(Bytes frame, std::size_t original_length) const {
    if (guest_) {
        const auto& wanted = guest_->bytes;
        if (frame.size() < 2 * wanted.size()) return false;
        if (!std::equal(wanted.begin(), wanted.end(), frame.begin()) &&
            !std::equal(wanted.begin(), wanted.end(), frame.begin() + wanted.size()))
            return false;
    }
    if (!program_) return true;
    pcap_pkthdr header{};
    header.caplen = static_cast<bpf_u_int32>(frame.size());
    header.len = static_cast<bpf_u_int32>(original_length);
    return program_->library.matches(&program_->code, &header, frame.data()) != 0;
}

}  // namespace vmrouter::recording
