#pragma once

// The parts of doctor's look at the machine. Internal to doctor_*.cpp.

#include <chrono>
#include <functional>

#include "src/base/file.hpp"
#include "src/commands/doctor_findings.hpp"
#include "src/commands/verify_probes.hpp"

namespace vmrouter::diagnosis {

/// How long an answer of a name server may take.
inline constexpr std::chrono::milliseconds patience{2500};
/// ... and one of the instance, which reads a lot of the machine back while others keep that busy.
inline constexpr std::chrono::milliseconds patience_with_instance{10'000};

/// Who keeps us from our ports. Tried, not looked up: a socket that is held to another interface is in nobody's way.
void look_at_ports(Facts& facts);
void look_at_resolver(Facts& facts, const proof::Subject& subject);
/// Who else answers a DISCOVER on the segment.
void look_for_servers(Facts& facts);

/// A packet socket on the segment; none when that is not up.
FileDescriptor segment_socket(const Facts& facts);
/// Reads frames until `done` or until time is up.
void listen(int fd, std::chrono::milliseconds limit, const std::function<bool(Bytes)>& done);

}  // namespace vmrouter::diagnosis
