/*
 * What faults are made of: commits, frames and trees that break one rule and keep all others.
 */
#pragma once

#include "tests/lib/forge.h"
#include "tests/simnet/fault_scene.h"

/* A commit that was right: of the scene's victim, with one create (the first op) and, but for the
 * victim's first commit, one update. */

void spoil_signature(struct fault_scene *s, struct repo_commit *c);
void spoil_high_s(struct fault_scene *s, struct repo_commit *c);
void spoil_der(struct fault_scene *s, struct repo_commit *c);
void spoil_short_signature(struct fault_scene *s, struct repo_commit *c);
void spoil_key(struct fault_scene *s, struct repo_commit *c);
void spoil_no_signature(struct fault_scene *s, struct repo_commit *c);
void spoil_version(struct fault_scene *s, struct repo_commit *c);
void spoil_no_prev(struct fault_scene *s, struct repo_commit *c);
void spoil_data_link(struct fault_scene *s, struct repo_commit *c);
void spoil_did(struct fault_scene *s, struct repo_commit *c);
void spoil_rev(struct fault_scene *s, struct repo_commit *c);
void spoil_commit_link(struct fault_scene *s, struct repo_commit *c);

void spoil_archive_cut(struct fault_scene *s, struct repo_commit *c);
void spoil_archive_header(struct fault_scene *s, struct repo_commit *c);
void spoil_archive_empty(struct fault_scene *s, struct repo_commit *c);
void spoil_no_node(struct fault_scene *s, struct repo_commit *c);
void spoil_no_record(struct fault_scene *s, struct repo_commit *c);
void spoil_node_hash(struct fault_scene *s, struct repo_commit *c);
void spoil_record_hash(struct fault_scene *s, struct repo_commit *c);
void spoil_blocks_size(struct fault_scene *s, struct repo_commit *c);
void spoil_extra_block(struct fault_scene *s, struct repo_commit *c);

void spoil_op_count(struct fault_scene *s, struct repo_commit *c);
void spoil_op_path(struct fault_scene *s, struct repo_commit *c);
void spoil_op_twice(struct fault_scene *s, struct repo_commit *c);
void spoil_op_value(struct fault_scene *s, struct repo_commit *c);
void spoil_op_elsewhere(struct fault_scene *s, struct repo_commit *c);
void spoil_op_delete(struct fault_scene *s, struct repo_commit *c);
void spoil_op_untold(struct fault_scene *s, struct repo_commit *c);
void spoil_op_action(struct fault_scene *s, struct repo_commit *c);
void spoil_prev_data(struct fault_scene *s, struct repo_commit *c);
void spoil_no_prev_data(struct fault_scene *s, struct repo_commit *c);

/* A frame that was right; appends. */

void spoil_frame_cut(struct span frame, struct buf *out);
void spoil_frame_longer(struct span frame, struct buf *out);
void spoil_frame_long_integer(struct span frame, struct buf *out);
void spoil_frame_float(struct span frame, struct buf *out);
void spoil_frame_nested(struct span frame, struct buf *out);
void spoil_frame_endless_array(struct span frame, struct buf *out);
void spoil_frame_tag(struct span frame, struct buf *out);
void spoil_frame_unsorted(struct span frame, struct buf *out);
void spoil_frame_same_key(struct span frame, struct buf *out);
void spoil_frame_number_key(struct span frame, struct buf *out);
void spoil_frame_open_array(struct span frame, struct buf *out);
void spoil_frame_text(struct span frame, struct buf *out);
void spoil_frame_op(struct span frame, struct buf *out);
void spoil_frame_no_op(struct span frame, struct buf *out);
void spoil_frame_kind(struct span frame, struct buf *out);
void spoil_frame_no_seq(struct span frame, struct buf *out);
void spoil_frame_huge_seq(struct span frame, struct buf *out);
void spoil_frame_no_repo(struct span frame, struct buf *out);
void spoil_frame_no_time(struct span frame, struct buf *out);
void spoil_frame_time(struct span frame, struct buf *out);
void spoil_frame_since(struct span frame, struct buf *out);
void spoil_frame_null_op(struct span frame, struct buf *out);
void spoil_frame_null_prev_data(struct span frame, struct buf *out);
void spoil_frame_no_blocks(struct span frame, struct buf *out);
void spoil_frame_did(struct span frame, struct buf *out);
void spoil_frame_did_method(struct span frame, struct buf *out);

/* Trees. */

/* With nothing wrong about it, but that no commit of the victim leads to it. */
void spoil_tree(struct forge *f);
void spoil_tree_heights(struct forge *f);
void spoil_tree_order(struct forge *f);
void spoil_tree_same_key(struct forge *f);
void spoil_tree_prefix_too_long(struct forge *f);
void spoil_tree_prefix_too_short(struct forge *f);
void spoil_tree_empty_node(struct forge *f);
void spoil_tree_root_without_key(struct forge *f);
void spoil_tree_shared(struct forge *f);
void spoil_tree_skipped_height(struct forge *f);
void spoil_tree_below_the_bottom(struct forge *f);
void spoil_tree_order_of_nodes(struct forge *f);
void spoil_tree_unknown_field(struct forge *f);
void spoil_tree_no_link(struct forge *f);
void spoil_tree_raw_link(struct forge *f);
void spoil_tree_long_integer(struct forge *f);
void spoil_tree_no_map(struct forge *f);
void spoil_tree_long_key(struct forge *f);
