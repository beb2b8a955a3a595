"""Model files of classifiers and outlier detectors."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC

import fastrbm
from cli_cases import assert_fails, run
from fastrbm import RBM, BernoulliRBM, GaussianRBM, PottsRBM, SoftmaxRBM
from fastrbm.classifiers import (
    DiscriminativeRBM,
    FreeEnergyClassifier,
    PatchFeatures,
    RBMClassifier,
    RBMOutlierDetector,
)
from fastrbm.deep import DBNClassifier, DeepBeliefNetwork
from fastrbm.init import FanIn
from fastrbm.optimizers import SGD, Adam
from fastrbm.schedules import Cosine
from model_files import parts_of, put_text, put_together

X, y = load_digits(return_X_y=True)
GREY, y = X[:150] / 16, y[:150]
BITS = (GREY > 0.5).astype(np.float64)
BYTES = (GREY * 255).astype(np.uint8)
REAL = X[:150, 10:20] - 3
CATEGORIES = (X[:150, 10:20] // 6).astype(int)
NAMES = np.array([f"digit {k}" for k in range(10)], dtype=object)
SMALL = BernoulliRBM(12, n_iter=2, random_state=1)
MLP = MLPClassifier((8, 5), max_iter=5, early_stopping=True, random_state=3)
TREES = ["sklearn.tree._tree.Tree"]

CASES = {
    "logistic": (RBMClassifier(SMALL), GREY, y),
    "logistic, two classes": (RBMClassifier(SMALL, random_state=5), BYTES, y > 4),
    "logistic, strings": (RBMClassifier(SMALL, LogisticRegression(class_weight="balanced")), GREY, NAMES[y]),
    "logistic, options": (
        RBMClassifier(SMALL, LogisticRegression(C=2, solver="newton-cg", class_weight={0: 2.0, 3: 0.5})),
        GREY.astype(np.float32),
        y,
    ),
    "logistic, liblinear": (RBMClassifier(SMALL, LogisticRegression(solver="liblinear")), GREY, y > 4),
    "logistic, not scaled": (RBMClassifier(SMALL, scale=False), GREY, y),
    "mlp": (RBMClassifier(SMALL, "mlp", random_state=0), GREY, y),
    "mlp, options": (RBMClassifier(SMALL, MLP), GREY.astype(np.float32), NAMES[y]),
    "mlp, lbfgs": (RBMClassifier(SMALL, MLPClassifier(4, solver="lbfgs", max_iter=9)), GREY, y > 4),
    "means and inputs": (RBMClassifier(SMALL, features="means+inputs"), BYTES, y),
    "samples": (RBMClassifier(GaussianRBM(8, sigma="data", n_iter=2), features="samples"), REAL, y),
    "by default, real": (RBMClassifier(random_state=0).set_params(scale=True), REAL, y),
    "categories": (RBMClassifier(SoftmaxRBM(4, n_iter=2)), CATEGORIES, y),
    "ridge": (RBMClassifier(SMALL, RidgeClassifier()), GREY, y),
    "support vectors": (RBMClassifier(SMALL, SVC(random_state=0)), GREY, NAMES[y]),
    "pipeline": (RBMClassifier(SMALL, make_pipeline(MinMaxScaler(), GaussianNB())), GREY, y),
    "our own": (RBMClassifier(SMALL, DiscriminativeRBM(5, n_iter=1, out_of_range="allow"), scale=False), GREY, y),
    "free energies": (FreeEnergyClassifier(SMALL, random_state=0), GREY, y),
    "free energies, bytes": (FreeEnergyClassifier(SMALL, validation_fraction=0.2), BYTES, NAMES[y]),
    "free energies, estimated": (FreeEnergyClassifier(SMALL, offsets="estimated"), BITS, y > 4),
    "free energies, real": (FreeEnergyClassifier(GaussianRBM(5, sigma="data", n_iter=2)), REAL, y),
    "free energies, categories": (FreeEnergyClassifier(SoftmaxRBM(4, n_iter=2)), CATEGORIES, y),
    "joint": (FreeEnergyClassifier(SMALL, mode="joint"), GREY, y),
    "joint, real": (FreeEnergyClassifier(GaussianRBM(5, sigma="data", n_iter=2), mode="joint"), REAL, y),
    "joint, groups": (FreeEnergyClassifier(PottsRBM(5, n_iter=2), mode="joint"), np.eye(4)[y % 4], y > 4),
    "joint, mixed": (
        FreeEnergyClassifier(RBM(5, visible="mixed(bernoulli*4,onehot*2)", n_iter=1), mode="joint"),
        np.hstack([BITS[:, 20:24], np.eye(2)[y % 2]]),
        y > 4,
    ),
    "outliers": (RBMOutlierDetector(SMALL, random_state=0), GREY, None),
    "outliers, real": (RBMOutlierDetector(calibration_fraction=0.3), REAL, None),
    "patches": (PatchFeatures(GaussianRBM(5, n_iter=1), shape=(8, 8), patch=(3, 4), n_patches=500), BYTES, None),
    "patches as they are": (
        PatchFeatures(SMALL, shape=(8, 4), channels=2, patch=4, n_patches=99, contrast=None, whitening=None),
        GREY,
        None,
    ),
    "discriminative": (DiscriminativeRBM(10, n_iter=2, random_state=0), GREY, y),
    "discriminative, options": (
        DiscriminativeRBM(
            10,
            objective="generative",
            n_iter=3,
            optimizer=Adam(),
            learning_rate=Cosine(0.01),
            init=FanIn(1.0),
            dtype=np.float64,
            validation_fraction=0.2,
            early_stopping=True,
        ),
        BYTES,
        NAMES[y],
    ),
}
OUTPUTS = ("transform", "predict", "predict_proba", "predict_log_proba", "decision_function", "free_energy")


def fitted(name):
    estimator, rows, labels = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (estimator.fit(rows) if labels is None else estimator.fit(rows, labels)), rows


def same_files(one, other, tmp_path):
    with np.load(one.save(tmp_path / "one.npz")) as a, np.load(other.save(tmp_path / "other.npz")) as b:
        return a.files == b.files and all(
            np.array_equal(a[key], b[key])
            for key in a.files
            if key not in ("header", "checksum") and not key.endswith("/bytes")
        )


@pytest.mark.parametrize("name", CASES)
def test_what_is_loaded_is_what_was_saved(name, tmp_path):
    estimator, rows = fitted(name)
    path = estimator.save(tmp_path / "model.npz")
    loaded = fastrbm.load(path)
    assert type(loaded) is type(estimator) and repr(loaded) == repr(estimator)
    for method in OUTPUTS:
        assert hasattr(loaded, method) == hasattr(estimator, method)
        if hasattr(estimator, method):
            found, wanted = (getattr(one, method)(rows) for one in (loaded, estimator))
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted)
    assert loaded.__dict__.keys() == estimator.__dict__.keys()
    if hasattr(estimator, "classes_"):
        assert loaded.classes_.dtype == estimator.classes_.dtype
    if hasattr(estimator, "classifier_"):
        wanted = {key for key in vars(estimator.classifier_) if not key.startswith("_")}
        assert wanted <= vars(loaded.classifier_).keys()
    for key in ("history_", "log_partitions_", "n_iter_", "offset_", "scale_"):
        assert getattr(loaded, key, None) == getattr(estimator, key, None)
    assert same_files(loaded, estimator, tmp_path)


@pytest.mark.parametrize("optimizer", ["sgd", SGD(0.9), "adam"])
def test_a_discriminative_machine_goes_on_bit_for_bit(optimizer, tmp_path):
    options = dict(optimizer=optimizer, n_iter=2, warm_start=True, random_state=0, objective="hybrid")
    estimator = DiscriminativeRBM(8, **options).fit(GREY, y)
    loaded = fastrbm.load(estimator.save(tmp_path / "model.npz"))
    assert same_files(loaded.fit(GREY, y), estimator.fit(GREY, y), tmp_path)
    assert same_files(loaded.partial_fit(GREY, y), estimator.partial_fit(GREY, y), tmp_path)


def test_machines_of_a_file_go_on_bit_for_bit(tmp_path):
    estimator = RBMOutlierDetector(SMALL).fit(GREY)
    loaded = fastrbm.load(estimator.save(tmp_path / "model.npz"))
    for one in (loaded, estimator):
        one.rbm_.partial_fit(GREY)
    np.testing.assert_array_equal(loaded.rbm_.components_, estimator.rbm_.components_)


def test_names_of_columns_are_kept(tmp_path):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(BITS[:, 20:26], columns=list("abcdef"))
    parts = (cls(SMALL) for cls in (RBMClassifier, FreeEnergyClassifier, RBMOutlierDetector))
    for estimator in (*parts, DiscriminativeRBM(4)):
        loaded = fastrbm.load(estimator.fit(table, y).save(tmp_path / "model.npz"))
        assert loaded.feature_names_in_.tolist() == list("abcdef")
        with pytest.raises(ValueError, match="feature names"):
            loaded.predict(table[list("abcdfe")])


def test_a_fit_after_loading_is_that_before_saving(tmp_path):
    for name in ("mlp", "logistic, two classes", "free energies", "outliers", "discriminative"):
        estimator, rows = fitted(name)
        loaded = fastrbm.load(estimator.save(tmp_path / "model.npz"))
        labels = CASES[name][2]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = loaded.fit(rows) if labels is None else loaded.fit(rows, labels)
        np.testing.assert_array_equal(again.predict(rows), fitted(name)[0].predict(rows))


def test_the_global_generator_is_left_alone(tmp_path):
    path = fitted("mlp")[0].save(tmp_path / "model.npz")
    np.random.seed(0)  # noqa: NPY002
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    fastrbm.load(path)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


# -- other classifiers -------------------------------------------------------------------------------------------------


def test_types_that_skops_does_not_know_are_named(tmp_path, capsys):
    estimator = RBMClassifier(SMALL, RandomForestClassifier(3, random_state=0)).fit(GREY, y)
    path = estimator.save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match=r"holds a RandomForestClassifier with types .* \['sklearn.tree._tree.Tree'\]"):
        fastrbm.load(path)
    assert_fails(capsys, "types that skops does not trust", "info", path)
    with pytest.raises(TypeError, match="trusted must be a sequence of names"):
        fastrbm.load(path, trusted="sklearn.tree._tree.Tree")
    loaded = fastrbm.load(path, trusted=[*TREES, "another.Type"])
    np.testing.assert_array_equal(loaded.predict_proba(GREY), estimator.predict_proba(GREY))


def test_without_skops_nothing_is_written_or_read(tmp_path, monkeypatch, capsys):
    estimator, _ = fitted("ridge")
    path = estimator.save(tmp_path / "model.npz")
    usual = fitted("logistic, options")[0].save(tmp_path / "usual.npz")
    before = path.read_bytes()
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    for target in (path, tmp_path / "new.npz"):
        with pytest.raises(ImportError, match=r'RidgeClassifier needs skops: pip install "fastrbm\[skops\]"'):
            estimator.save(target)
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == ["model.npz", "usual.npz"]
    with pytest.raises(ImportError, match="RidgeClassifier needs skops"):
        fastrbm.load(path)
    assert_fails(capsys, 'RidgeClassifier needs skops: pip install "fastrbm[skops]"', "info", path)
    assert fastrbm.load(usual).classifier.C == 2


def test_usual_classifiers_import_no_skops(tmp_path):
    path = fitted("mlp, options")[0].save(tmp_path / "model.npz")
    program = f"import sys, fastrbm; fastrbm.load({str(path)!r}); sys.exit('skops' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


class Odd(SGDClassifier):
    """A classifier that cannot be stored."""

    def fit(self, X, y, **options):
        self.kept_ = (k for k in range(3))
        return super().fit(X, y, **options)


def test_what_cannot_be_stored_is_told(tmp_path):
    for estimator in (RBMClassifier(SMALL, Odd()), RBMClassifier(SMALL)):
        estimator.fit(GREY, y)
        if isinstance(estimator.classifier, str):
            estimator.scaler_.scale_[0] = np.nan
        with pytest.raises(ValueError, match="cannot be stored in a model file|must be finite to be saved"):
            estimator.save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_nothing_is_saved_before_a_fit(tmp_path):
    for cls in (RBMClassifier, FreeEnergyClassifier, DiscriminativeRBM, RBMOutlierDetector, PatchFeatures):
        with pytest.raises(Exception, match="not fitted"):
            cls().save(tmp_path / "model.npz")


# -- files that were damaged or crafted --------------------------------------------------------------------------------

FEATURES = ("logistic", "mlp, options", "ridge", "free energies", "free energies, real", "free energies, estimated",
            "joint", "outliers", "patches", "patches as they are", "discriminative, options")  # fmt: skip


def rewritten(path, change):
    header, arrays = parts_of(path)
    change(header, arrays)
    return put_together(path, header, arrays)


@pytest.mark.parametrize("name", FEATURES)
def test_every_array_is_looked_at(name, tmp_path):
    path = fitted(name)[0].save(tmp_path / "model.npz")
    whole = path.read_bytes()
    with np.load(path) as archive:
        names = [key for key in archive.files if key not in ("header", "checksum")]

    def shorter(x):
        return x[:-1] if x.ndim else np.array(-1.0)

    def infinite(x):
        return np.full_like(x, np.nan) if x.dtype.kind == "f" else np.array(["a"])

    def flat(x):
        return x.reshape(-1, 1, 1)

    def empty(x):
        return x.astype(np.complex128) if x.dtype.kind == "f" else x[:0]

    for key in names:
        for harm in (shorter, infinite, flat, empty):
            if harm in (shorter, empty) and key.endswith(("/chains", "/h_samples_")):
                continue  # any number of them will do
            path.write_bytes(whole)
            rewritten(path, lambda header, arrays, key=key, harm=harm: arrays.update({key: harm(arrays[key])}))
            with pytest.raises(ValueError, match="damaged model file"):
                fastrbm.load(path)
                print(key, harm.__name__)
        path.write_bytes(whole)
        rewritten(path, lambda header, arrays, key=key: arrays.pop(key))
        if "/h_samples_" not in key and "/chains" not in key and "/extra_" not in key:  # a machine need have none
            with pytest.raises(ValueError, match="damaged model file"):
                fastrbm.load(path)


HARM = {
    "classes out of order": ("logistic", lambda h, a: a.update(classes=a["classes"][::-1])),
    "one class": ("logistic", lambda h, a: a.update(classes=np.array([1]))),
    "features": ("logistic", lambda h, a: h["own"].update(features="x")),
    "columns": ("logistic", lambda h, a: h["own"].update(n_features=63)),
    "names": ("logistic", lambda h, a: h["own"].update(feature_names=["a"])),
    "no machine": ("logistic", lambda h, a: h["parts"].pop("rbm")),
    "a scaler for a classifier": ("logistic", lambda h, a: h["parts"].update(classifier=h["parts"]["scaler"])),
    "class of others": ("logistic", lambda h, a: h["parts"]["scaler"].update(sklearn="os.system")),
    "unknown option": ("logistic", lambda h, a: h["parts"]["classifier"]["options"].update(x=1)),
    "not fitted": ("logistic", lambda h, a: h["parts"]["classifier"].update(fitted=False)),
    "scale of 0": ("logistic", lambda h, a: a.update({"scaler/scale_": 0 * a["scaler/scale_"]})),
    "layers": ("mlp, options", lambda h, a: h["parts"]["classifier"]["options"].update(hidden_layer_sizes=[8, 6])),
    "activation": ("mlp, options", lambda h, a: h["parts"]["classifier"]["options"].update(activation="x")),
    "loss": ("mlp, options", lambda h, a: h["parts"]["classifier"]["numbers"].update(loss_="x")),
    "bytes": ("ridge", lambda h, a: a.update({"classifier/bytes": a["classifier/bytes"][::-1]})),
    "scale of energies": ("free energies", lambda h, a: h["own"].update(scale=-1)),
    "inputs": ("free energies", lambda h, a: h["own"]["inputs"].update(factor=0)),
    "deviation": ("free energies, real", lambda h, a: a.update(deviation=-a["deviation"])),
    "log Z": ("free energies, estimated", lambda h, a: h["own"]["log_partitions"][0].update(value="x")),
    "label units": ("joint", lambda h, a: h["parts"]["rbm"]["options"].update(visible="bernoulli")),
    "offset": ("outliers", lambda h, a: h["own"].update(offset=float("nan"))),
    "slots": ("discriminative, options", lambda h, a: h["own"]["state"].update(slots=9)),
    "step": ("discriminative, options", lambda h, a: h["own"]["state"].update(step=-1)),
    "input scale": ("discriminative, options", lambda h, a: h["own"].update(input_scale=0)),
    "history": ("discriminative, options", lambda h, a: h["own"].update(history={"loss": ["x"]})),
    "no own": ("discriminative, options", lambda h, a: h.pop("own")),
}


def test_parts_in_parts_without_end_are_refused(tmp_path):
    path = fitted("logistic")[0].save(tmp_path / "model.npz")
    header, arrays = parts_of(path)
    text, depth = json.dumps(header), 600
    begin = text[: text.index('"parts": {') + len('"parts": {')] + '"classifier": '
    put_text(path, begin * depth + text + "}}" * depth, arrays)
    with pytest.raises(ValueError, match="model file"):
        fastrbm.load(path)


@pytest.mark.parametrize("what", HARM)
def test_crafted_headers_are_refused(what, tmp_path):
    name, change = HARM[what]
    path = rewritten(fitted(name)[0].save(tmp_path / "model.npz"), change)
    with pytest.raises(ValueError, match="damaged model file"):
        fastrbm.load(path)


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("logistic, strings", ("RBMClassifier: 64 columns, 10 classes", "digit 0", "scaler: StandardScaler",
                               "rbm: BernoulliRBM: 64 bernoulli and 12 bernoulli units, float32, trained for 2 epochs",
                               "classifier: LogisticRegression")),
        ("joint", ("FreeEnergyClassifier: 64 columns", "rbm: RBM: 74 mixed", "mode='joint'")),
        ("outliers", ("RBMOutlierDetector: 64 columns", "random_state=0", "rbm: BernoulliRBM")),
        ("discriminative, options", ("DiscriminativeRBM: 64 columns", "10 hidden units", "loss: ", "=Cosine(")),
    ],
)  # fmt: skip
def test_the_command_shows_it_and_says_where_it_takes_single_machines(name, words, tmp_path, capsys):
    estimator, rows = fitted(name)
    path = estimator.save(tmp_path / "model.npz")
    np.save(tmp_path / "x.npy", rows)
    assert run("info", path) == 0
    shown = capsys.readouterr().out
    assert all(one in shown for one in words), shown
    message = f"MODEL must be the file of one RBM, {path} holds a {type(estimator).__name__}"
    for command in (["transform", path, tmp_path / "x.npy", "--out", tmp_path / "y.npy"], ["sample", path, "--out",
                    tmp_path / "y.npy"], ["evaluate", path, tmp_path / "x.npy"]):  # fmt: skip
        assert_fails(capsys, message, *command, status=1)
    resumed = ["train", tmp_path / "x.npy", "--resume", path, "--out", tmp_path / "y.npz"]
    assert_fails(capsys, "must be the file of one RBM", *resumed, status=1)


def test_files_name_classes_by_names_that_stay(tmp_path):
    """Modules may be moved later, so files must not have their present places."""
    for name in ("logistic", "free energies", "outliers", "discriminative", "patches"):
        path = fitted(name)[0].save(tmp_path / "model.npz")
        with np.load(path) as archive:
            header = json.loads(str(archive["header"]))
        assert header["module"] == "classifiers" and header["version"] == 2


@pytest.mark.parametrize("labels", [[0, 1], ["a", "b"], [1.0, 2.0]], ids=str)
def test_weights_of_classes_come_back(labels, tmp_path):
    """Labels are the keys of a dict, of any type."""
    rows, y = np.random.default_rng(0).random((40, 4)), np.repeat(labels, 20)
    stack = DeepBeliefNetwork([3], rbm=BernoulliRBM(n_iter=1))
    for model in (DiscriminativeRBM(3, n_iter=2), DBNClassifier(stack, n_iter=2)):
        for weight in ("balanced", {labels[0]: 2.5, labels[1]: 1}, {np.asarray(labels)[1]: np.float64(0.5)}):
            model.set_params(class_weight=weight, random_state=0).fit(rows, y)
            loaded = fastrbm.load(model.save(tmp_path / "model.npz"))
            assert loaded.class_weight == weight
            np.testing.assert_array_equal(loaded.predict_proba(rows), model.predict_proba(rows))
            np.testing.assert_array_equal(loaded.fit(rows, y).predict_proba(rows), model.predict_proba(rows))
