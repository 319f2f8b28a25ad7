"""Muon (K. Jordan, 2024) for the trunk's convolutions, AdamW for the rest: the momentum of a matrix is replaced by the
nearest orthogonal one, so that all its directions learn at one rate."""
import torch


def orthogonal(m):
    """Five steps of a Newton-Schulz iteration: singular values of m come within about 0.7 and 1.2."""
    x = m.bfloat16()
    if tall := x.shape[0] > x.shape[1]:
        x = x.t()
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.t()
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.t() if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                direction = p.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
                update = orthogonal(direction).to(p.dtype).view(p.shape)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * max(1, direction.shape[0] / direction.shape[1]) ** 0.5)
