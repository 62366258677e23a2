"""The files and folders in the folder of a run: the only place that names them. docs/runs.md says what each holds."""

RECORD = "run.json"
LOCK = "run.lock"
"""A process holds a lock on it while it works on the run."""

RECIPE = "recipe.py"
DATA = "data.json"
SPLITS = "splits.csv"
FINDINGS = "findings.json"
"""What is wrong with the data, or may be."""

LABELS = "labels.txt"
LEARNABILITY = "learnability"
STEPS = "steps"
"""The checkpoints of training, a folder for each phase."""

TRIALS = "trials"
"""A folder for each trial of a ladder, a search, a comparison or `kt adapt`; it has its own STEPS."""

LOGS = "logs"
"""What TensorBoard reads."""

MODEL = "model.keras"
ANSWERS = "answers"
"""The model's scores, a folder for each split."""

UNFAMILIAR = "unfamiliar"
"""What the model needs to say that an example is unlike anything it learned from."""

SAMPLE = "sample"
EXPLAINED = "explained"
"""Where the model looks in some test pictures."""

ARTIFACTS = "artifacts"
EXPORT_LOG = "export.log"
"""In ARTIFACTS: what the exports printed."""

REPORT = "report.json"
PAGE = "report.html"
SHOWN = "shown.json"
HISTORY = "history.json"
CARD = "MODEL_CARD.md"
"""In a released version too."""

RATES, RATES_PAGE = "lr-find.json", "lr-find.html"
"""In the folder of `kt lr-find`."""

COMPARISON, COMPARISON_PAGE = "compare.json", "compare.html"
"""In the folder of `kt compare`."""

ADAPTATION, ADAPTATION_PAGE = "adapt.json", "adapt.html"
"""In the folder of `kt adapt`."""

SIDE_BY_SIDE = "against-"
"""The page of two runs side by side, in the second one's folder, begins with this; the first one's name follows."""

LATEST = "LATEST"
"""Beside the runs of a recipe: a link to the newest finished one."""
