"""Evaluations as the stages before write them, made from scikit-learn's digits without training anything."""

import functools
import json

import numpy as np
import yaml
from PIL import Image
from sklearn.datasets import load_digits

MODELS = (("pca", "classical"), ("ae", "autoencoder"), ("vae", "vae"), ("beta_vae", "vae"), ("beta_tc_vae", "vae"))
TITLES = {
    "mse": ("Squared error", "reconstruction", "squared units of the data", "min"),
    "psnr": ("PSNR", "reconstruction", "dB", "max"),
    "nelbo": ("Negative ELBO", "likelihood", "nats", "min"),
    "rate": ("Rate", "likelihood", "nats", "none"),
    "fid_domain_n128": ("FID (domain, N = 128)", "fidelity", "squared feature units", "min"),
    "fid_recon_domain_n128": ("FID of reconstructions (domain, N = 128)", "fidelity", "squared feature units", "min"),
    "mig": ("MIG", "disentanglement", "1", "max"),
    "knn_accuracy": ("Label of the neighbours", "structure", "1", "max"),
    "ssim": ("SSIM", "reconstruction", "1", "max"),
}
HEADLINE = {"keep": "mse", "generate": "fid_domain_n128", "steer": "mig", "find": "knn_accuracy"}


scans = functools.cache(load_digits)


@functools.cache
def components(content, shape):
    """Mean and first ten principal axes of items, as bytes, once for all runs."""
    flat = np.frombuffer(content, np.float64).reshape(shape)
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    return flat.mean(0), vectors[:, np.argsort(-values)[:10]].T


def entry(key, value=None, reason=None, interval=None, floor=None, status=None, **provenance):
    title, kind, unit, direction = TITLES[key]
    return {
        "metric": key.partition("_domain")[0],
        "title": title,
        "kind": kind,
        "unit": unit,
        "direction": direction,
        "value": value,
        "status": status or ("ok" if value is not None else "not applicable"),
        "reason": reason,
        "interval": interval,
        "floor": floor,
        "ceiling": None,
        "meaning": f"What {title} says.",
        "provenance": {"split": "test", "n": 180, **provenance},
        "parts": {},
    }


def write_card(root, name="digits", kind="image", labels=True, factors=None, items=None):
    folder = root / "data" / name
    folder.mkdir(parents=True)
    if items is None:
        items = (scans().images[:, :, :, None] * 15.9375).astype(np.uint8)
    observed = "image" if kind == "image" else "x"
    shape = [items.shape[3], items.shape[1], items.shape[2]] if kind == "image" else list(items.shape[1:])
    np.save(folder / f"{observed}.npy", items)
    fields = {observed: {"kind": kind, "shape": shape, "dtype": "float32", "size": 256 if kind == "image" else None, "names": []}}
    sizes = {"train": len(items) - 360, "val": 180, "test": 180}
    card = {
        "name": name,
        "title": name.title(),
        "about": "Scans of real handwriting.",
        "spec": {"name": name, "observation": observed, "fields": fields, "sizes": sizes},
        "ranges": {observed: [0, 1]},
        "factors": factors,
        "classes": [str(i) for i in range(10)] if labels else None,
        "content_hash": "5f" * 32,
        "storage": {
            observed: {
                "file": f"{observed}.npy",
                "packed": False,
                "shape": list(items.shape[1:]),
                "divisor": 255 if kind == "image" else None,
            }
        },
        "excluded": [{"item": "a.png", "reason": "cannot be read"}],
        "reference_size": 128,
        "witnesses": list(range(8)),
    }
    (folder / "card.json").write_text(json.dumps(card))
    if kind == "image":
        Image.fromarray(np.kron(np.hstack(items[:16, :, :, 0]), np.ones((4, 4), np.uint8))).save(folder / "contact.png")
    return items


def write_run(
    root, run, data, model, family, items, seed=0, strength=1.0, factors=None, labels=None, headline=None, scores=None, image=True
):
    """One evaluated run whose reconstructions are a PCA of the items, blurred by ``strength``."""
    rng = np.random.default_rng(seed + len(model) * 7)
    flat = items.reshape(len(items), -1).astype(float)
    small = flat.shape[1] <= 64
    mean, basis = (
        components(flat.tobytes(), flat.shape)
        if small
        else (flat.mean(0), np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][:10])
    )
    test = np.arange(180)
    codes = ((flat[test] - mean) @ basis.T) / flat.std() / 4
    decode = lambda z: (z * flat.std() * 4) @ basis + mean  # noqa: E731
    shaped = lambda x: np.clip(x, 0, 255).astype(np.uint8).reshape(-1, *items.shape[1:])  # noqa: E731
    kl = np.sort(np.abs(rng.normal(1.2, 0.6, 10)))[::-1].copy()
    kl[7:] = 0.001
    folder = root / "evaluations" / run
    folder.mkdir(parents=True)
    latents = {"codes": codes.astype(np.float32), "index": test}
    if family == "vae":
        latents["kl_per_dimension"] = kl
    if labels is not None:
        latents["labels"] = labels[test]
    if factors is not None:
        latents["factors"] = factors[test]
    np.savez(folder / "latents.npz", **latents)
    if image:
        z = codes[:1].repeat(9, 0)
        walks = []
        for j in range(10):
            moved = z.copy()
            moved[:, j] = np.linspace(-2, 2, 9)
            walks.append(shaped(decode(moved)))
        path = codes[0] + np.linspace(0, 1, 9)[:, None] * (codes[1] - codes[0])
        arrays = {
            "witnesses": items[:8],
            "reconstructions": shaped(decode(codes[:8])),
            "traversals": np.stack(walks),
            "interpolations": shaped(decode(path))[None],
        }
        if family != "autoencoder":
            arrays["samples"] = shaped(decode(rng.normal(0, codes.std(0), (8, 10))))
        np.savez_compressed(folder / "pictures.npz", **arrays)
    if scores is None:
        scores = default_scores(rng, family, strength, labels)
    evaluation = {
        "run": run,
        "data": data,
        "model": model,
        "family": family,
        "tier": "core",
        "seed": seed,
        "mlflow_run_id": "a1b2c3d4" * 4,
        "scores": scores,
        "verdict": f"Keeps {90 / strength:.0f} % of the variance of held-out items. "
        "3 of 10 dimensions carry less than 0.01 nats: collapsed, 7 in use.",
        "headline": headline or HEADLINE,
        "verbs": ["encode", "decode"] + (["sample"] if family != "autoencoder" else []),
        "traversal_order": list(range(10)),
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    write_model(root, run, data, model, family, rng)


def default_scores(rng, family, strength, labels):
    scores = {
        "mse": entry("mse", 0.012 * strength, interval=[0.0115 * strength, 0.0125 * strength], floor=0.07),
        "psnr": entry("psnr", 19.2 - strength),
        "ssim": entry("ssim", reason="images are 8×8: smaller than the window of 11"),
        "mig": entry("mig", reason="the data has no factors"),
        "fid_recon_domain_n128": entry("fid_recon_domain_n128", 1.2 * strength, extractor="domain", hash="3c9d12ab"),
    }
    if family != "autoencoder":
        scores["fid_domain_n128"] = entry("fid_domain_n128", float(4 + rng.random() * 3), extractor="domain", hash="3c9d12ab")
    else:
        scores["fid_domain_n128"] = entry("fid_domain_n128", reason="the model has no sample")
    if family == "vae":
        scores["nelbo"] = entry("nelbo", 18.3 + strength, likelihood="Gaussian")
        scores["rate"] = entry("rate", 9.1 / strength)
    scores["knn_accuracy"] = (
        entry("knn_accuracy", 0.97 - 0.02 * strength, interval=[0.93, 0.97])
        if labels is not None
        else entry("knn_accuracy", reason="the data has no labels")
    )
    return scores


def write_model(root, run, data, model, family, rng):
    folder = root / "models" / run
    folder.mkdir(parents=True)
    steps = np.arange(50, 3001, 50)
    history = (
        []
        if family == "classical"
        else [
            {
                "step": int(s),
                "train/loss": float(20 + 40 * np.exp(-s / 400) + rng.normal(0, 0.4)),
                "val/loss": float(20.6 + 40 * np.exp(-s / 420)),
            }
            for s in steps
        ]
    )
    (folder / "train.json").write_text(
        json.dumps(
            {
                "run": run,
                "mlflow_run_id": "a1b2c3d4" * 4,
                "sha256": "9e" * 32,
                "step": 3000,
                "parameters": 45210,
                "history": history,
            }
        )
    )
    (folder / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "run": run,
                "data": data,
                "model": {"name": model, "net": {"_target_": f"latent_atlas.models.{model}"}},
                "fingerprint": "77aa",
            }
        )
    )


def section_of(runs, page="digits"):
    entries = [
        {"run": run, "data": data, "model": model, "family": family, "tag": tag, "tier": "core", "seed": seed}
        for run, data, model, family, tag, seed in runs
    ]
    return {"page": page, "runs": entries}


def digits(root, models=MODELS, name="digits"):
    """Five models on the digits: the usual first page."""
    items = write_card(root, name)
    labels = scans().target.astype(np.int64)
    runs = []
    for place, (model, family) in enumerate(models):
        run = f"{name}-{model}"
        write_run(root, run, name, model, family, items, strength=(1.9, 0.8, 1.0, 1.6, 1.4)[place % 5], labels=labels)
        runs.append((run, name, model, family, "", 0))
    return section_of(runs, name)
