"""The planted mistakes: each a thing that somebody could write, and a review could let pass.

One row each, a module's own text and what stands there instead. A row whose old text is not in its
module exactly once is an error, so that none of them rots unseen.
"""

from __future__ import annotations

from typing import Final

from tests.faults.planted.mistake import Mistake

_RUN = "buildflow.engine.run"
_UNDO = "buildflow.engine.undo"
_STAGING = "buildflow.engine.staging"
_CARRY = "buildflow.engine.carry"
_GUARD = "buildflow.engine.guard"
_LOOP = "buildflow.engine.loop"
_JOURNAL = "buildflow.engine.journal"
_STATEMENTS = "buildflow.engine.statements"
_PERSISTENCE = "buildflow.engine.persistence"
_KEYS = "buildflow.engine.keys"
_REMOVAL = "buildflow.engine.removal"
_EFFECTS = "buildflow.flows.effects"
_DOMAIN = "buildflow.flows.domain"
_NETWORK = "buildflow.flows.network"
_VOLUME = "buildflow.flows.volume"
_STORAGE = "buildflow.flows.storage"
_BOOT = "buildflow.flows.boot"
_PLACEMENT = "buildflow.flows.placement"
_BUILD = "buildflow.flows.build"

# sorts of mistake
_ORDER = "wrong order"
_NO_UNDO = "undo removed"
_KEY = "key"
_UNKNOWN = "unknown outcome"
_SWALLOWED = "swallowed"
_DURABLE = "durability"
_FENCE = "fence"
_SECRET = "secret"
_STOP = "stop"
_RESUME = "resume"
_STATE = "state"
_RESIDUE = "residue"
_PATIENCE = "patience"
_WATCH = "watching"
_HOSTS = "other host"

# fmt: off
MISTAKES: Final[tuple[Mistake, ...]] = (
    # --- durability: what is written when ---------------------------------------------------
    Mistake(
        "intent-after-effect", _DURABLE, "the effect is made before its intent is durable", _RUN,
        "        self.commit()  # the intent is durable before the effect begins\n", "",
    ),
    Mistake(
        "undone-before-undo", _DURABLE, "the ledger says undone before anything is removed", _UNDO,
        "            self._delete(step, effect)\n"
        "        except StoreError as error:",
        "            self.stage_effect(effect, state=UNDONE, reason=None)\n"
        "            self.commit()\n"
        "            self._delete(step, effect)\n"
        "        except StoreError as error:",
        "delete-0n0v",
    ),
    Mistake(
        "results-not-read-back", _DURABLE,
        "what a step returned is not read back after a crash",
        _PERSISTENCE,
        '        detail.results = data.get("results")', "        detail.results = None",
    ),
    Mistake(
        "atoms-not-recorded", _DURABLE,
        "TaskFlow's records of the steps are never written",
        _PERSISTENCE,
        "        self._recorder.record_atom(detail)\n"
        "        return detail",
        "        return detail",
    ),
    Mistake(
        "history-cut-short", _DURABLE,
        "of the moves of one commit only the first is in the history",
        _STAGING,
        "            many.append((s.history, list(self._new_history)))",
        "            many.append((s.history, self._new_history[:1]))",
    ),
    Mistake(
        "refused-end-kept", _DURABLE,
        "what was staged for an end stays when that end is refused",
        _STAGING,
        "            for name, value in kept.items():\n"
        "                setattr(self, name, value)\n",
        "",
    ),
    Mistake(
        "active-before-complete", _DURABLE,
        "the machine is active one commit before the build is complete",
        _RUN,
        "        self.move(triggers, step)\n"
        "        try:\n",
        "        self.move(triggers, step)\n"
        "        self.commit()\n"
        "        try:\n",
    ),
    Mistake(
        "complete-before-active", _DURABLE,
        "the build is complete one commit before its machine is active",
        _RUN,
        "        self.move(triggers, step)\n"
        "        try:\n",
        '        self.set_status("complete")\n'
        "        self.commit()\n"
        "        self.move(triggers, step)\n"
        "        try:\n",
    ),
    # --- the fence: who may write ---------------------------------------------------
    Mistake(
        "fence-without-owner", _FENCE, "a unit is fenced by the build's id alone", _STATEMENTS,
        '            (b.c.id == bindparam("b_id"))\n'
        '            & (b.c.epoch == bindparam("b_epoch"))\n'
        '            & (b.c.seq == bindparam("b_seq"))\n',
        '            b.c.id == bindparam("b_id")\n',
    ),
    Mistake(
        "fence-without-epoch", _FENCE, "a unit is fenced by the sequence number alone", _STATEMENTS,
        '            & (b.c.epoch == bindparam("b_epoch"))\n'
        "            & (b.c.seq",
        "            & (b.c.seq",
    ),
    Mistake(
        "fence-not-heeded", _FENCE, "a unit is written although its fence did not hold", _JOURNAL,
        "            self._explain(cursor, unit, again=again)\n"
        "            return\n",
        "            row = (None,)\n",
    ),
    Mistake(
        "effect-not-taken-back", _FENCE, "what a stale owner's last call made stays", _CARRY,
        '                if effect is not None and effect["state"] == UNDONE:',
        '                if effect is not None and effect["state"] == INTENT:',
    ),
    Mistake(
        "effect-taken-from-owner", _FENCE, "a stale owner removes what is the new owner's", _CARRY,
        '                if effect is not None and effect["state"] == UNDONE:',
        "                if effect is not None:",
    ),
    Mistake(
        "stop-not-in-fence", _FENCE,
        "a build is complete although a stop was asked for meanwhile",
        _RUN,
        "                self._ending_step = step\n"
        "                self.commit(unless_stopped=True)",
        "                self._ending_step = step\n"
        "                self.commit()",
    ),
    Mistake(
        "epoch-not-raised", _FENCE,
        "whoever takes a build over keeps its epoch",
        "buildflow.engine.store",
        '"owner": owner, "epoch": epoch + 1}', '"owner": owner, "epoch": epoch}',
    ),
    # --- keys ---------------------------------------------------
    Mistake(
        "fresh-key", _KEY, "a key is new each time that it is asked for", _KEYS,
        '    return str(uuid.uuid5(uuid.UUID(build), f"{step}#{attempt}"))',
        "    return str(uuid.uuid4())",
    ),
    Mistake(
        "key-without-attempt", _KEY, "a second attempt has the keys of the first", _KEYS,
        'f"{step}#{attempt}"', "step",
        "build-0n0v-2hosts",
    ),
    Mistake(
        "directory-without-key", _KEY,
        "a directory is made under another name than its key",
        _STORAGE,
        '        return self.on(facts["host"]).create_directory(key)',
        '        return self.on(facts["host"]).create_directory(self.run.id)',
    ),
    Mistake(
        "port-without-key", _KEY, "a port is made without its tag", _NETWORK,
        '            key, facts["instance"], facts["hostname"], PortRequest(**facts["request"])',
        '            self.name, facts["instance"], facts["hostname"],'
        ' PortRequest(**facts["request"])',
        "build-1n0v",
    ),
    Mistake(
        "volume-without-key", _KEY, "a volume is made without our key in its metadata", _VOLUME,
        "self.world.volume.create_volume(key, facts",
        "self.world.volume.create_volume(self.name, facts",
        "build-0n0v-made",
    ),
    Mistake(
        "attempt-not-counted", _KEY, "every attempt is the first", _PLACEMENT,
        "        run.set_attempt(len(history) + 1, host)", "        run.set_attempt(1, host)",
        "build-0n0v-2hosts",
    ),
    # --- unknown is not failed, nor done ---------------------------------------------------
    Mistake(
        "lost-answer-is-failure", _UNKNOWN,
        "a lost answer fails the build, though it was done",
        _RUN,
        "                if not error.outcome_unknown:\n"
        "                    raise\n",
        "                if error:\n"
        "                    raise\n",
    ),
    Mistake(
        "off-is-on", _UNKNOWN, "a domain that is there is taken for one that was started", _DOMAIN,
        '        return {"power_state": domain.power_state} if domain.active else None',
        '        return {"power_state": power.RUNNING}',
    ),
    Mistake(
        "found-without-looking", _UNKNOWN,
        "after a crash the ledger's intent is taken for the effect",
        _RUN,
        "        result = None if fresh else step.find(key, facts)",
        '        result = None if fresh else step.find(key, facts) or {"power_state": 1}',
    ),
    Mistake(
        "attachment-taken-for-complete", _UNKNOWN,
        "a lost answer to attach is taken for done",
        _VOLUME,
        '        return {"attached": True} if attached else None',
        '        return {"attached": True}',
        "build-0n1v",
    ),
    Mistake(
        "lost-answer-is-success", _UNKNOWN, "a lost answer is taken for done", _RUN,
        "                found = self._ask_world(step, key, facts, error)\n",
        "                found = self._ask_world(step, key, facts, error) or {}\n",
    ),
    # --- undos that are not there ---------------------------------------------------
    Mistake(
        "guest-not-destroyed", _NO_UNDO, "the undo of the start destroys nothing", _DOMAIN,
        '        compute.destroy_domain(facts["uuid"])\n', "",
    ),
    Mistake(
        "domain-not-undefined", _NO_UNDO, "the undo of the definition does nothing", _DOMAIN,
        '        self.on(facts["host"]).undefine_domain(facts["uuid"])', "        return",
    ),
    Mistake(
        "directory-not-deleted", _NO_UNDO, "the undo of the directory does nothing", _STORAGE,
        '        self.on(facts["host"]).delete_directory(key)', "        return",
    ),
    Mistake(
        "disk-not-deleted", _NO_UNDO, "the undo of the disk leaves it to the directory's", _STORAGE,
        '        self.on(facts["host"]).delete_disk(key, facts["directory"])', "        return",
        "delete-0n0v",
    ),
    Mistake(
        "port-not-deleted", _NO_UNDO, "a port that was made is kept", _NETWORK,
        "            self.world.network.delete_port(key, port)", "            return",
        "build-1n0v",
    ),
    Mistake(
        "vif-not-unplugged", _NO_UNDO, "the undo of the plug does nothing", _NETWORK,
        '        self.on(facts["host"]).unplug_vif(facts["vif"])', "        return",
        "build-1n0v",
    ),
    Mistake(
        "volume-kept", _NO_UNDO, "a volume that was made for the build is kept", _VOLUME,
        '            self.world.volume.delete_volume(key, str(volume["id"]))', "            return",
        "build-0n0v-made",
    ),
    Mistake(
        "not-unreserved", _NO_UNDO, "the undo of the reservation does nothing", _VOLUME,
        '            self.world.volume.unreserve(key, facts["volume_id"], facts["instance"])',
        "            return",
        "build-0n1v",
    ),
    Mistake(
        "not-terminated", _NO_UNDO, "the export to the host is never taken back", _VOLUME,
        "            self.world.volume.terminate_connection(\n"
        '                facts["attachment_id"], facts["volume_id"], facts["connector"]\n'
        "            )",
        "            return",
        "build-0n1v-legacy",
    ),
    Mistake(
        "not-disconnected", _NO_UNDO, "the host keeps the volume open", _VOLUME,
        '            self.on(facts["host"]).disconnect_volume(facts["connection_info"])',
        "            return",
        "build-0n1v-host",
    ),
    Mistake(
        "users-volume-deleted", _NO_UNDO,
        "the undo of a reservation deletes the user's volume",
        _VOLUME,
        '            self.world.volume.unreserve(key, facts["volume_id"], facts["instance"])',
        '            self.world.volume.unreserve(key, facts["volume_id"], facts["instance"])\n'
        '            self.world.volume.delete_volume(key, facts["volume_id"])',
        "build-0n1v",
    ),
    Mistake(
        "intents-not-undone", _NO_UNDO,
        "a revert undoes only what is known to have been made",
        _UNDO,
        'e["step"] == step and e["state"] != UNDONE]',
        'e["step"] == step and e["state"] == "done"]',
    ),
    # --- orders ---------------------------------------------------
    Mistake(
        "undone-first-to-last", _ORDER,
        "steps are reverted in the order in which they were made",
        _LOOP,
        "                if details[other].state not in _GONE:\n"
        "                    break\n",
        "                pass\n",
    ),
    Mistake(
        "swept-first-to-last", _ORDER, "residue is swept oldest first", _UNDO,
        '        left = [e for e in self.effects.values() if e["state"] != UNDONE]\n'
        '        return sorted(left, key=lambda e: -e["ordinal"])',
        '        left = [e for e in self.effects.values() if e["state"] != UNDONE]\n'
        '        return sorted(left, key=lambda e: e["ordinal"])',
    ),
    Mistake(
        "deleted-first-to-last", _ORDER,
        "the delete flow removes what was made first, first",
        _REMOVAL,
        "    for step in reversed(steps):", "    for step in steps:",
        "delete-0n0v",
    ),
    Mistake(
        "blockers-ignored", _ORDER,
        "an undo runs although what must go first is still there",
        _UNDO,
        "        if blockers:\n", '        if blockers and step.kind == "claim":\n',
        "delete-0n0v",
    ),
    Mistake(
        "disk-under-live-guest", _ORDER,
        "the disk need not wait for the guest to be gone",
        _EFFECTS,
        '"delete the disk",\n'
        '            ("guest",),',
        '"delete the disk",\n'
        "            (),",
        "delete-0n0v",
    ),
    Mistake(
        "port-under-live-guest", _ORDER,
        "the network is released though the guest could not be stopped",
        _EFFECTS,
        '            ("guest", "vif", "binding"),', "            (),",
        "delete-1n0v",
    ),
    Mistake(
        "unplugged-under-live-guest", _ORDER,
        "a VIF is unplugged though the guest could not be stopped",
        _EFFECTS,
        '"unplug the VIF", ("guest",)', '"unplug the VIF"',
        "delete-1n0v",
    ),
    Mistake(
        "detached-before-disconnect", _ORDER,
        "a volume is detached in Cinder while its host may have it open",
        _EFFECTS,
        '"detach the volume",\n'
        '            ("guest", "connection"),',
        '"detach the volume",\n'
        '            ("guest",),',
        "delete-0n1v-host",
    ),
    Mistake(
        "disconnected-under-live-guest", _ORDER,
        "a volume is disconnected though the guest could not be stopped",
        _EFFECTS,
        '"disconnect the host",\n'
        '            ("guest",),',
        '"disconnect the host",\n'
        "            (),",
        "delete-0n1v-host",
    ),
    Mistake(
        "directory-under-live-guest", _ORDER, "the directory need not wait for anything", _EFFECTS,
        '"remove the directory",\n'
        '            ("guest", "domain", "disk"),',
        '"remove the directory",\n'
        "            (),",
        "delete-0n0v",
    ),
    Mistake(
        "unreserved-under-live-guest", _ORDER,
        "a volume is given back though the guest could not be stopped",
        _EFFECTS,
        '"unreserve the volume",\n'
        '            ("guest", "connection"),',
        '"unreserve the volume",\n'
        "            (),",
        "delete-0n1v",
    ),
    Mistake(
        "unbound-under-live-guest", _ORDER,
        "a port is unbound though the guest could not be stopped",
        _EFFECTS,
        '            ("guest", "vif"),\n', "            (),\n",
        "delete-1n0v",
    ),
    Mistake(
        "unmapped-under-live-guest", _ORDER,
        "a volume is unmapped though the guest could not be stopped",
        _EFFECTS,
        '"terminate the connection",\n'
        '            ("guest", "connection"),',
        '"terminate the connection",\n'
        "            (),",
        "delete-0n1v",
    ),
    # --- errors ---------------------------------------------------
    Mistake(
        "error-swallowed", _SWALLOWED, "a step that failed counts as one that went well", _RUN,
        "            self.blame(error, step.name)\n"
        "            raise\n"
        "        finally:",
        "            self.blame(error, step.name)\n"
        "            return None\n"
        "        finally:",
    ),
    Mistake(
        "failure-not-told-taskflow", _SWALLOWED,
        "TaskFlow is given nothing instead of the failure",
        _LOOP,
        "            self._value = event, tf_failure.Failure((type(error), error, None))",
        "            self._value = event, None",
    ),
    Mistake(
        "undo-error-swallowed", _SWALLOWED,
        "an undo that failed counts as one that went well",
        _UNDO,
        "            self.stage_effect(effect, state=RESIDUE, reason=reason)\n"
        "            self.blame",
        "            self.stage_effect(effect, state=UNDONE, reason=reason)\n"
        "            self.blame",
        "delete-0n0v",
    ),
    Mistake(
        "last-error-told", _SWALLOWED,
        "the error of a rollback takes the place of the first one",
        _STAGING,
        "            if self.fault is None:\n"
        "                self.fault = fault\n"
        "            else:\n"
        "                self.errors.append(fault)\n",
        "            if self.fault is not None:\n"
        "                self.errors.append(self.fault)\n"
        "            self.fault = fault\n",
        depth=2, kinds=("er",),
    ),
    Mistake(
        "fault-not-kept", _SWALLOWED, "why a build failed is not staged with its row", _STAGING,
        "                self.errors.append(fault)\n"
        "            self._dirty_build = True",
        "                self.errors.append(fault)\n"
        "            self.fault = None",
    ),
    # --- stops ---------------------------------------------------
    Mistake(
        "cancel-ignored", _STOP, "safe points look at the deadline only", _RUN,
        "        if self.stop is not None:\n"
        "            raise StopBuild(self.stop, self.stop_detail)",
        '        if self.stop == "deadline":\n'
        "            raise StopBuild(self.stop, self.stop_detail)",
    ),
    Mistake(
        "late-delete-forgotten", _STOP,
        "a delete that comes during the rollback is forgotten",
        _UNDO,
        '            if self.stop == "deleted":\n'
        "                self.begin_deleting()\n"
        "            try:",
        "            try:",
        depth=2, kinds=("er", "de"),
    ),
    Mistake(
        "delete-after-cancel-forgotten", _STOP,
        "a delete of a build that is being cancelled is forgotten",
        _RUN,
        'or reason == LOST or (reason == "deleted" and self.stop != LOST):', "or reason == LOST:",
        depth=2, kinds=("cn", "de"),
    ),
    # --- going on after a crash ---------------------------------------------------
    Mistake(
        "complete-run-again", _RESUME, "a build that is complete is run again", _GUARD,
        '("complete", Intention.RUN): Decision.NOTHING',
        '("complete", Intention.RUN): Decision.FORWARD',
    ),
    Mistake(
        "rolled-back-run-again", _RESUME, "a build that was rolled back is run again", _GUARD,
        '("rolled_back", Intention.RUN): Decision.NOTHING',
        '("rolled_back", Intention.RUN): Decision.FORWARD',
    ),
    Mistake(
        "delete-turned-rollback", _RESUME,
        "a delete that was cut off goes on as a rollback",
        _GUARD,
        '        return Decision.REMOVE if row["vm_state"] != "building" else Decision.BACK',
        '        return Decision.NOTHING if row["vm_state"] != "building" else Decision.BACK',
        "delete-0n0v",
    ),
    Mistake(
        "not-turned-round", _RESUME, "TaskFlow is not told that a build is to go back", _CARRY,
        "            self._blame_stop(run)\n"
        "            force_revert(engine)",
        "            self._blame_stop(run)",
    ),
    Mistake(
        "moved-twice", _RESUME, "a resumed step moves the machine again", _CARRY,
        "        run.resumed_from(n for n, (state, _) in states.items() if state =="
        " tf_states.RUNNING)\n",
        "",
    ),
    Mistake(
        "complete-taken-apart", _RESUME,
        "an error after the last commit undoes a complete build",
        _UNDO,
        '        if self.status == "complete":\n'
        "            return",
        "        if self.halted:\n"
        "            return",
    ),
    Mistake(
        "cleanup-turned-rollback", _RESUME,
        "a cleanup that was cut off goes on as a rollback, which passes over residue",
        _GUARD,
        'row["status"] == "rolling_back" and row.get("finished_at") is not None:',
        'row["status"] == "rolling_back" and row["stop"] == "cleanup":',
        "cleanup-left",
    ),
    # --- residue ---------------------------------------------------
    Mistake(
        "residue-called-gone", _RESIDUE,
        "a rollback that left something says that nothing is left",
        _UNDO,
        '            self.set_status("residue" if left else "rolled_back")',
        '            self.set_status("rolled_back")',
    ),
    Mistake(
        "cleanup-does-nothing", _RESIDUE, "cleanup does not begin on what is residue", _GUARD,
        '("residue", Intention.CLEANUP): Decision.SWEEP',
        '("residue", Intention.CLEANUP): Decision.NOTHING',
    ),
    Mistake(
        "cleanup-skips-residue", _RESIDUE, "cleanup passes over what is marked as residue", _CARRY,
        "        run.sweep(again=True)", "        run.sweep()",
    ),
    Mistake(
        "deleted-with-residue", _RESIDUE,
        "a delete that left something calls the machine deleted",
        _UNDO,
        "                    if not left:\n", "                    if self.status:\n",
        "delete-0n0v",
    ),
    # --- patience ---------------------------------------------------
    Mistake(
        "undo-not-tried-again", _PATIENCE, "an undo that fails once is given up", _UNDO,
        "            clock.sleep(0.05)\n"
        "            retrying(once)",
        "            raise",
        "delete-0n0v",
    ),
    Mistake(
        "undo-tried-for-ever", _PATIENCE, "the retries of an undo have no deadline", _UNDO,
        "stop=lambda _: clock.monotonic() - start >= self.settings.undo_timeout_s,",
        "stop=tenacity.stop_never,",
    ),
    # --- states ---------------------------------------------------
    Mistake(
        "not-walked-back", _STATE, "a rollback does not walk the machine back", _UNDO,
        "        self._compensate(step)\n", "",
    ),
    Mistake(
        "name-kept", _STATE, "a build that is gone keeps its name taken", _STAGING,
        '            if status == "rolled_back":\n'
        "                self.live_name = None\n",
        "",
    ),
    # --- watching ---------------------------------------------------
    Mistake(
        "dead-guest-unseen", _WATCH, "a guest that dies while it boots is not noticed", _BOOT,
        "        if state == power.RUNNING:\n"
        "            return",
        "        if state != power.NOSTATE:\n"
        "            return",
    ),
    # --- secrets ---------------------------------------------------
    Mistake(
        "secret-in-result", _SECRET, "a step returns the password, so that it is stored", _DOMAIN,
        'data["auth_username"], data["auth_password"])\n'
        '        return {"secret": True}',
        'data["auth_username"], data["auth_password"])\n'
        '        return {"secret": data}',
        "build-0n1v",
    ),
    Mistake(
        "secret-in-error", _SECRET, "the password is in the text of an error", _DOMAIN,
        '        self.on(facts["host"]).create_secret(key, data["auth_username"],'
        ' data["auth_password"])\n',
        "        try:\n"
        '            self.on(facts["host"]).create_secret(\n'
        '                key, data["auth_username"], data["auth_password"]\n'
        "            )\n"
        "        except DriverError as error:\n"
        "            if error.outcome_unknown:\n"
        "                raise\n"
        '            raise DriverError(f"{error}: {data}") from error\n',
        "build-0n1v",
    ),
    Mistake(
        "secret-logged", _SECRET, "the connection is logged when opening it is undone", _VOLUME,
        "        with self.hold(f\"volume:{facts['volume_id']}\"):\n"
        '            self.on(facts["host"]).disconnect_volume(facts["connection_info"])',
        "        import logging\n"
        "\n"
        "        info = self.world.volume.connection_secrets(\n"
        '            facts["attachment_id"], facts["volume_id"], facts["connector"]\n'
        "        )\n"
        '        logging.getLogger(__name__).debug("closing %s", info)\n'
        "        with self.hold(f\"volume:{facts['volume_id']}\"):\n"
        '            self.on(facts["host"]).disconnect_volume(facts["connection_info"])',
        "build-0n1v",
    ),
    Mistake(
        "secret-printed", _SECRET, "the password is printed when its secret can't be made", _DOMAIN,
        '        self.on(facts["host"]).create_secret(key, data["auth_username"],'
        ' data["auth_password"])\n',
        "        try:\n"
        '            self.on(facts["host"]).create_secret(\n'
        '                key, data["auth_username"], data["auth_password"]\n'
        "            )\n"
        "        except DriverError:\n"
        '            print(f"no secret for {data}")\n'
        "            raise\n",
        "build-0n1v",
    ),
    Mistake(
        "secret-not-released", _SECRET, "a secret stays once QEMU has read it", _BUILD,
        "    if secrets:\n"
        "        start.add(domain.ReleaseSecrets(",
        "    if not secrets:\n"
        "        start.add(domain.ReleaseSecrets(",
        "build-0n1v",
    ),
    # --- another host ---------------------------------------------------
    Mistake(
        "next-host-over-residue", _HOSTS,
        "another host is tried though the guest could not be stopped on the first",
        _PLACEMENT,
        '        left = sorted({effect["kind"] for effect in run.leftovers()})',
        '        left = sorted({e["kind"] for e in run.leftovers() if e["attempt"] < 0})',
        "build-0n0v-2hosts", depth=2, kinds=("er",),
    ),
)
# fmt: on
