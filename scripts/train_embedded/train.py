#!/usr/bin/env python3
"""Train the embedded model: a 7.3 M parameter Llama, distilled from larger teachers.

The text is small (about 7 M tokens) and a fast GPU reads it hundreds of times in the minutes given, so the time is
better spent on teachers of 27 M parameters, held back by dropout, than on more epochs of the small model. The small
model then learns from the mean of the teachers' distributions mixed with the text itself.

    python train.py --train train.txt.xz --valid valid.txt --minutes 9 --out OUT

Written for torch 2.11.0, tokenizers 0.23.2, safetensors 0.8.0. Each stage measures its own speed and fits its number of
steps to the minutes; `--teacher-steps` and `--student-steps` fix them instead, to repeat a run on another machine.
"""

import argparse
import json
import lzma
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizer import BOS, EOS, VOCAB_SIZE, save_tokenizer, train_tokenizer
from tokenizers import Tokenizer
from torch import Tensor, nn

CONTEXT = 512
PIECE = 16_000  # characters; the text is cut in pieces of about this size at paragraph ends
HELD_OUT_EVERY = 50  # of which every 50th is held out
ROPE_THETA = 10000.0
EPS = 1e-5
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
START = time.monotonic()


@dataclass(frozen=True)
class Shape:
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int = 64


STUDENT = Shape(hidden=256, intermediate=768, layers=8, heads=4, kv_heads=2)
TEACHER = Shape(hidden=512, intermediate=1536, layers=8, heads=8, kv_heads=4)


# ---- Model. Module names are those of Hugging Face's LlamaForCausalLM below "model.".


class RMSNorm(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + EPS) * self.weight).to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-high, low), dim=-1) * sin).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.q_proj = nn.Linear(shape.hidden, shape.heads * shape.head_dim, bias=False)
        self.k_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head_dim, bias=False)
        self.v_proj = nn.Linear(shape.hidden, shape.kv_heads * shape.head_dim, bias=False)
        self.o_proj = nn.Linear(shape.heads * shape.head_dim, shape.hidden, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        q, k, v = (
            proj(x).unflatten(-1, (-1, self.shape.head_dim)).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        group = self.shape.heads // self.shape.kv_heads
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.down_proj = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    def __init__(self, shape: Shape, dropout: float):
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RMSNorm(shape.hidden)
        self.mlp = MLP(shape)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), cos, sin))
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))


class Llama(nn.Module):
    def __init__(self, shape: Shape, dropout: float):
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCAB_SIZE, shape.hidden)
        self.layers = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden)
        self.dropout = nn.Dropout(dropout)
        frequency = ROPE_THETA ** (-torch.arange(0, shape.head_dim, 2) / shape.head_dim)
        angle = torch.outer(torch.arange(CONTEXT), frequency).repeat(1, 2)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * shape.layers) if last else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        x = self.dropout(self.embed_tokens(ids).bfloat16())
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.linear(self.norm(x), self.embed_tokens.weight)


def autocast() -> torch.autocast:
    return torch.autocast(DEVICE.type, dtype=torch.bfloat16)


# ---- Data.


def read_text(path: Path) -> str:
    data = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    return data.decode("utf-8")


def cut(text: str) -> list[str]:
    pieces, start = [], 0
    while start < len(text):
        found = text.find("\n\n", start + PIECE)
        end = found + 2 if found >= 0 else len(text)
        pieces.append(text[start:end])
        start = end
    return pieces


def plain_ascii(text: str) -> str:
    """The other way in which these books are typeset: straight quotes and double hyphens."""
    return text.translate(str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "—": "--"}))


def encode(tokenizer: Tokenizer, pieces: list[str]) -> Tensor:
    encodings = tokenizer.encode_batch_fast(pieces, add_special_tokens=False)
    return torch.tensor([i for e in encodings for i in e.ids], device=DEVICE)


def batches(tokens: Tensor, bos: int, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (input, target) pairs [size, CONTEXT]. Each epoch cuts the text at another offset."""
    random = torch.Generator().manual_seed(seed)
    span = torch.arange(CONTEXT, device=DEVICE)
    while True:
        offset = int(torch.randint(CONTEXT, (), generator=random))
        starts = torch.arange(offset, len(tokens) - CONTEXT + 1, CONTEXT)
        starts = starts[torch.randperm(len(starts), generator=random)].to(DEVICE)
        for chunk in starts[: len(starts) // size * size].split(size):
            target = tokens[chunk[:, None] + span]
            yield F.pad(target[:, :-1], (1, 0), value=bos), target


@torch.no_grad()
def evaluate(models: list[nn.Module], tokens: Tensor, bos: int) -> float:
    """Mean loss in nats over windows of BOS and 511 tokens; of the mean distribution if there are several models."""
    width = CONTEXT - 1
    target = F.pad(tokens, (0, -len(tokens) % width), value=-100).view(-1, width)
    inputs = F.pad(target[:, :-1].clamp(min=0), (1, 0), value=bos)
    total = 0.0
    for x, y in zip(inputs.split(64), target.split(64)):
        mean = sum(probabilities(model, x) for model in models) / len(models)
        total += F.nll_loss(mean.log().flatten(0, 1), y.flatten(), reduction="sum").item()
    return total / len(tokens)


@torch.no_grad()
def probabilities(model: nn.Module, ids: Tensor) -> Tensor:
    with autocast():
        return model(ids).float().softmax(-1)


# ---- Optimiser.


def orthogonalise(matrices: Tensor) -> Tensor:
    """Newton-Schulz iteration of Muon on [n, rows, columns]: all singular values go to about 1."""
    x = matrices.bfloat16()
    if tall := x.shape[1] > x.shape[2]:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).float()


class Muon:
    """Muon on the matrices of the layers, scaled so that one learning rate and decay suit it and AdamW."""

    def __init__(self, matrices: list[nn.Parameter], decay: float, momentum: float = 0.95):
        shapes = dict.fromkeys(weight.shape for weight in matrices)
        self.groups = [[weight for weight in matrices if weight.shape == shape] for shape in shapes]
        self.buffers = [torch.zeros(len(group), *group[0].shape, device=DEVICE) for group in self.groups]
        self.decay, self.momentum = decay, momentum

    @torch.no_grad()
    def step(self, lr: float) -> None:
        for group, buffer in zip(self.groups, self.buffers):
            grads = torch.stack([weight.grad for weight in group])
            buffer.lerp_(grads, 1 - self.momentum)
            update = orthogonalise(grads.lerp(buffer, self.momentum))
            scale = 0.2 * math.sqrt(max(update.shape[1:]))
            torch._foreach_mul_(group, 1 - lr * self.decay)
            torch._foreach_add_(group, list(update.unbind()), alpha=-lr * scale)


# ---- Training.

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def text_loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with autocast():
        logits = model(x).float()
    return F.cross_entropy(logits.flatten(0, 1), y.flatten())


def distil_loss(model: nn.Module, x: Tensor, y: Tensor, teacher: Tensor, share: float) -> Tensor:
    with autocast():
        logp = model(x).float().log_softmax(-1)
    text = F.nll_loss(logp.flatten(0, 1), y.flatten())
    return share * -(teacher * logp).sum(-1).mean() + (1 - share) * text


@dataclass
class Stage:
    name: str
    deadline: float  # seconds after START
    share: float  # of the time up to the deadline
    steps: int | None
    lr: float
    decay: float


def fit(stage: Stage, model: nn.Module, loss: Loss, data: Iterator[tuple[Tensor, Tensor]],
        check: Callable[[], float]) -> None:
    """Train until the deadline, or for the steps given. The learning rate falls linearly to zero."""
    matrices = [weight for weight in model.layers.parameters() if weight.dim() == 2]
    vectors = [weight for weight in model.parameters() if weight.dim() == 1]
    muon = Muon(matrices, stage.decay)
    adam = torch.optim.AdamW(
        [{"params": [model.embed_tokens.weight]}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.95), weight_decay=stage.decay, fused=True,
    )
    warmup, measure_from, measure_to = 100, 20, 60
    total, step, running = stage.steps, 0, torch.zeros((), device=DEVICE)
    clock = time.monotonic()
    tokens_per_step = 0
    while total is None or step < total:
        if total is None and step in (measure_from, measure_to):
            running.item()  # wait for the GPU
            now = time.monotonic()
            if step == measure_to:
                each = (now - clock) / (measure_to - measure_from)
                left = (stage.deadline - (now - START)) * stage.share
                total = step + max(1, int(left / each * 0.97))
                print(f"{stage.name}: {total} steps, {tokens_per_step / each:.0f} tokens/s", flush=True)
            clock = now
        progress = step / total if total else 0.0
        lr = stage.lr * min((step + 1) / warmup, 1 - progress)
        x, y = next(data)
        tokens_per_step = y.numel()
        value = loss(model, x, y)
        value.backward()
        for group in adam.param_groups:
            group["lr"] = lr
        adam.step()
        muon.step(lr)
        model.zero_grad(set_to_none=True)
        running.lerp_(value.detach(), 0.02 if step else 1.0)
        step += 1
        if total and (step % max(1, total // 12) == 0 or step == total):
            model.eval()
            held_out = check()
            model.train()
            print(f"{stage.name}: step {step}/{total} at {time.monotonic() - START:.0f} s, "
                  f"loss {running.item():.4f}, held out {held_out:.4f}", flush=True)
    print(f"{stage.name}: {step * tokens_per_step / 1e6:.1f} M tokens seen", flush=True)
    model.eval()


def export(model: Llama, shape: Shape, tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"model.{name}": weight.detach().bfloat16().cpu() for name, weight in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": CONTEXT,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": EPS,
        "rope_scaling": None,
        "rope_theta": ROPE_THETA,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": VOCAB_SIZE,
    }
    generation = {"bos_token_id": bos, "do_sample": True, "eos_token_id": eos, "temperature": 0.8, "top_p": 0.95}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    save_tokenizer(tokenizer, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--valid", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64, help="windows of 512 tokens a step")
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--decay", type=float, default=0.2)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--teachers", type=int, default=3)
    parser.add_argument("--teacher-dropout", type=float, default=0.2)
    parser.add_argument("--teacher-share", type=float, default=0.9, help="weight of the teachers in the loss")
    parser.add_argument("--teacher-time", type=float, default=0.5, help="share of the minutes spent on teachers")
    parser.add_argument("--teacher-steps", type=int)
    parser.add_argument("--student-steps", type=int)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    pieces = cut(read_text(args.train))
    kept = [piece for i, piece in enumerate(pieces) if i % HELD_OUT_EVERY != HELD_OUT_EVERY // 2]
    tokenizer = train_tokenizer(pieces)
    bos = tokenizer.token_to_id(BOS)
    train = encode(tokenizer, kept + [plain_ascii(piece) for piece in kept])
    held_out = encode(tokenizer, pieces[HELD_OUT_EVERY // 2 :: HELD_OUT_EVERY])
    valid = encode(tokenizer, [read_text(args.valid)])
    print(f"{len(train)} training tokens in two typesettings, {len(held_out)} held out, {len(valid)} valid, "
          f"ready at {time.monotonic() - START:.0f} s", flush=True)

    compiled = torch.compile if DEVICE.type == "cuda" else lambda function: function
    seconds = args.minutes * 60
    learn_text, learn_both, predict = compiled(text_loss), compiled(distil_loss), compiled(probabilities)
    teachers: list[nn.Module] = []
    for i in range(args.teachers):
        teacher = Llama(TEACHER, args.teacher_dropout).to(DEVICE)
        share = 1 / (args.teachers - i)
        stage = Stage(f"teacher {i}", seconds * args.teacher_time, share, args.teacher_steps, args.lr, args.decay)
        fit(stage, teacher, learn_text, batches(train, bos, args.batch, args.seed + i),
            lambda: evaluate([teacher], held_out, bos))
        teachers.append(teacher.requires_grad_(False))
        print(f"teachers so far: held out {evaluate(teachers, held_out, bos):.4f}, "
              f"valid {evaluate(teachers, valid, bos):.4f}", flush=True)

    student = Llama(STUDENT, args.dropout).to(DEVICE)
    best = math.inf

    def check() -> float:
        nonlocal best
        loss = evaluate([student], held_out, bos)
        if loss < best:
            best = loss
            export(student, STUDENT, tokenizer, args.out)
        return loss

    def learn(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        mean = sum(predict(teacher, x) for teacher in teachers) / len(teachers)
        return learn_both(model, x, y, mean, args.teacher_share)

    stage = Stage("student", seconds, 1.0, args.student_steps, args.lr, args.decay)
    data = batches(train, bos, args.batch, args.seed + args.teachers)
    fit(stage, student, learn if teachers else learn_text, data, check)
    print(f"student: held out {best:.4f}, last step: train {evaluate([student], train[:len(valid)], bos):.4f}, "
          f"valid {evaluate([student], valid, bos):.4f}", flush=True)


if __name__ == "__main__":
    main()
