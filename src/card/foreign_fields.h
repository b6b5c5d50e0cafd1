// Whose a field is that this program does not know: the diffusers class that has it.
#pragma once

#include <string>
#include <string_view>

namespace nightreel::card {

/// "WanVACETransformer3DModel" for "vace_layers"; empty where none of the models near Wan's has it.
std::string class_with_field(std::string_view field);

}  // namespace nightreel::card
