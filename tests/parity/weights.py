"""Random weights that hide no mistake: no norm weight is one, no bias and no modulation table is zero."""

import torch


def randomise(module, generator, storage):
    """Fills `module` in place with float32 values that `storage` (a torch dtype) holds exactly."""
    done = set()
    for name, parameter in module.named_parameters():
        if parameter.data_ptr() in done:  # tied to one before
            continue
        done.add(parameter.data_ptr())
        value = _draw(name, parameter.shape, generator)
        parameter.data.copy_(value.to(storage).to(torch.float32))
    return module.eval().requires_grad_(False)


def _draw(name, shape, generator):
    noise = torch.randn(shape, generator=generator)
    if name.endswith("bias"):
        return 0.1 * noise
    if "norm" in name:
        return 1.0 + 0.2 * noise
    if name.endswith("scale_shift_table"):
        return 0.5 * noise
    if "embed_tokens" in name or "shared" in name or "relative_attention_bias" in name:
        return noise
    fan_in = noise[0].numel()
    return noise * fan_in**-0.5
