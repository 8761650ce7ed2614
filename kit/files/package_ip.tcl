# Packages the machine as an IP of Vivado's catalog, with its AXI interfaces:
#   vivado -mode batch -source package_ip.tcl
# The component (IP-XACT) and its files are written to ../build/ip.
set here [file dirname [file normalize [info script]]]
set out [file join $here .. build ip]
create_project -in_memory -force
add_files [file join $here .. rtl @TOP@.v]
set_property top @TOP@ [current_fileset]
update_compile_order -fileset sources_1
ipx::package_project -root_dir $out -vendor twofold -library accelerators -taxonomy /Twofold -import_files -force
set core [ipx::current_core]
set_property name @TOP@ $core
set_property display_name "Twofold @NAME@" $core
set_property description "Multiplier-free neural network accelerator, build @NAME@" $core
set_property version 1.@REVISION@ $core

# The machine's names are those that Vivado knows its interfaces by.
set masters [list @MASTERS@]
set interfaces {s_axis axis_rtl m_axis axis_rtl s_axil aximm_rtl}
foreach master $masters {lappend interfaces $master aximm_rtl}
foreach {interface kind} $interfaces {
  if {[ipx::get_bus_interfaces $interface -of_objects $core] eq ""} {
    ipx::infer_bus_interface [lmap port [ipx::get_ports ${interface}_* -of_objects $core] {get_property name $port}] \
      xilinx.com:interface:$kind:1.0 $core
  }
}
ipx::infer_bus_interface clk xilinx.com:signal:clock_rtl:1.0 $core
ipx::infer_bus_interface rst xilinx.com:signal:reset_rtl:1.0 $core
proc parameter {interface name value} {
  set bus [ipx::get_bus_interfaces $interface -of_objects [ipx::current_core]]
  set_property value $value [ipx::add_bus_parameter $name $bus]
}
parameter rst POLARITY ACTIVE_HIGH
parameter clk ASSOCIATED_RESET rst
parameter clk ASSOCIATED_BUSIF [join [concat s_axis m_axis s_axil $masters] :]

# The memory outside, of builds with one: byte addresses of 32 bits.
foreach master $masters {
  foreach space [ipx::get_address_spaces -of_objects $core] {
    ipx::remove_address_space [get_property name $space] $core
  }
  set space [ipx::add_address_space $master $core]
  set_property range 4G $space
  set_property width 32 $space
  set_property master_address_space_ref $master [ipx::get_bus_interfaces $master -of_objects $core]
}

# The registers, as the address editor shows them.
ipx::remove_memory_map s_axil $core
set map [ipx::add_memory_map s_axil $core]
set_property slave_memory_map_ref s_axil [ipx::get_bus_interfaces s_axil -of_objects $core]
set block [ipx::add_address_block registers $map]
set_property range 256 $block
set_property usage register $block
foreach {name offset} {@REGISTERS@} {
  set register [ipx::add_register $name $block]
  set_property address_offset $offset $register
  set_property size 32 $register
}

ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
