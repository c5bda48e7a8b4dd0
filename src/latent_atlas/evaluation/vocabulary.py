"""The words by which a metric asks for arrays, and what is known of each: budget, seed, likelihood."""

from __future__ import annotations

# What a metric may ask for by naming an argument so; N items are the same for every model of a data set.
VOCABULARY = {
    "x": "(N, *shape) held-out observations in their own units",
    "recon": "(N, *shape) the decoder's mean at the posterior's mode (tokens: probabilities)",
    "codes": "(N, d) coordinates of the posterior's mode",
    "posterior": "PosteriorArrays: kl (N,) and kl_per_dimension (d,), or (P,) of P parts, in nats; None where there are none",
    "posterior_log_density": "(N', N') log q(z_i | x_j) in nats of one draw of each of N' posteriors, N' at most 1,000",
    "indices": "(N, ...) codebook entries",
    "codebook_size": "how many entries the codebook has",
    "factors": "(N, K) ground-truth factors",
    "factor_names": "K names",
    "labels": "(N,) classes",
    "samples": "(M, *shape) draws of the model, M the reference size; fewer of an iterative sampler",
    "features_real": "(M, f) the extractor's features of M held-out items",
    "features_other": "(M, f) the same of other real items: what a perfect sampler would reach",
    "features_recon": "(M, f) of the reconstructions of the M held-out items",
    "features_samples": "(M, f) of draws of the model",
    "features_train": "(M, f) the extractor's features of training items, all of them up to 10,000",
    "probabilities_real": "(M, C) the extractor's class probabilities of the M held-out items",
    "probabilities_samples": "(M, C) of draws of the model",
    "log_prob": "(N,) log p(x | z) in nats, z one draw of q(z | x)",
    "log_weights": "(N', K) log p(x | z_k) + log p(z_k) - log q(z_k | x) in nats of K draws z_k of q(z | x)",
    "draws": "(N, d) coordinates of one draw of q(z | x) for each item",
    "prior": "(N, d) coordinates of N draws of the prior",
    "noisy_codes": "sigma -> (N', d) codes of the first N' items, at most 2,000, under Gaussian noise of that standard deviation",
    "x_train": "(N, *shape) training items, as many as there are of x where there are",
    "codes_train": "(N, d) their codes",
    "variances_train": "(N, d) variances of their posteriors, where these are diagonal normal",
    "recon_train": "(N', *shape) reconstructions of the first N' of them, at most 2,000",
    "factors_train": "(N, K) their factors",
    "labels_train": "(N,) their classes",
    "factor_sizes": "K numbers of values; 0 is a continuous factor",
    "encode": "callable x -> codes",
    "decode": "callable codes -> mean",
    "extract": "callable x -> features",
    "space": "the latent space",
    "refits": "how often a metric that trains something is fitted anew; 0 and 1 give no interval",
    "resamples": "of the bootstrap; 0 gives no interval",
    "seed": "of all noise",
}
# Numbers from the budget, not arrays: conf/evaluation.
SETTINGS = {
    "refits": 0, "resamples": 0, "importance_items": 256, "importance_samples": 64, "noise": (0.05, 0.1, 0.2),
    "sample_passes": 20_000,
}  # fmt: skip

# Words that depend on the seed.
DRAWN = frozenset({
    "log_prob", "log_weights", "samples", "features_samples", "probabilities_samples", "posterior", "posterior_log_density",
    "draws", "prior", "noisy_codes", "seed",
})  # fmt: skip
OF_PASSES = frozenset({"encode", "decode"})  # the model itself
OF_LIKELIHOOD = frozenset({"log_prob", "log_weights"})
OF_SAMPLES = frozenset({"samples", "features_samples", "probabilities_samples"})
