#pragma once

#include <iosfwd>
#include <string>

#include "src/cli.hpp"
#include "src/plan.hpp"

namespace vmrouter {

/// Prints the definition of a libvirt network that is our bridge, or registers it with libvirt through virsh, started
/// and at every boot. 0; 1 when there is no bridge or virsh fails.
int libvirt_xml(const cli::LibvirtXml& options, std::ostream& out, std::ostream& err, const Folders& folders = {});

/// The definition: libvirt serves nothing on it, it only knows its name.
std::string network_xml(const std::string& bridge);

}  // namespace vmrouter
