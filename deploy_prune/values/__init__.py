"""The nouns: every value that crosses from one stage to the next. All are frozen; none knows how it was made."""

from __future__ import annotations

from deploy_prune.values.decisions import Budget as Budget
from deploy_prune.values.decisions import Keep as Keep
from deploy_prune.values.decisions import Plan as Plan
from deploy_prune.values.decisions import Scores as Scores
from deploy_prune.values.decisions import Selection as Selection
from deploy_prune.values.decisions import Widths as Widths
from deploy_prune.values.graphs import ChannelGraph as ChannelGraph
from deploy_prune.values.graphs import Gather as Gather
from deploy_prune.values.graphs import Group as Group
from deploy_prune.values.graphs import GroupRow as GroupRow
from deploy_prune.values.graphs import Layer as Layer
from deploy_prune.values.graphs import Member as Member
from deploy_prune.values.measuring import Bracket as Bracket
from deploy_prune.values.measuring import Comparison as Comparison
from deploy_prune.values.measuring import Conditions as Conditions
from deploy_prune.values.measuring import Measurement as Measurement
from deploy_prune.values.measuring import NodeTime as NodeTime
from deploy_prune.values.measuring import Target as Target
from deploy_prune.values.measuring import same_unit as same_unit
from deploy_prune.values.networks import TOP_1 as TOP_1
from deploy_prune.values.networks import Count as Count
from deploy_prune.values.networks import Data as Data
from deploy_prune.values.networks import ImageSet as ImageSet
from deploy_prune.values.networks import Interval as Interval
from deploy_prune.values.networks import Network as Network
from deploy_prune.values.networks import Normalisation as Normalisation
from deploy_prune.values.networks import Quality as Quality
from deploy_prune.values.networks import SplitRecord as SplitRecord
from deploy_prune.values.progress import Progress as Progress
from deploy_prune.values.progress import quiet as quiet
from deploy_prune.values.shipping import AppForm as AppForm
from deploy_prune.values.shipping import Artifact as Artifact
from deploy_prune.values.shipping import InputKind as InputKind
from deploy_prune.values.shipping import Layout as Layout
from deploy_prune.values.shipping import NetworkIdentity as NetworkIdentity
from deploy_prune.values.shipping import Parity as Parity
from deploy_prune.values.shipping import Precision as Precision
from deploy_prune.values.shipping import Shipment as Shipment
from deploy_prune.values.shipping import TensorSpec as TensorSpec
