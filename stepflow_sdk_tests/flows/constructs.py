"""Every construct of the flow format, by its section, and the test that covers it.

A test is named by its file under ``stepflow_sdk_tests`` and its function; that it exists is tested, too.
"""

from collections.abc import Mapping

LOADER = "flows/test_loader.py::test_"
EXPRESSIONS = "flows/test_expressions.py::test_"
ENGINE = "runtime/test_engine.py::test_"
RULES = "runtime/test_rules.py::test_"
RETRIES = "runtime/test_retries.py::test_"
CHECKS = "flows/test_checks.py::test_"
OLD = "runtime/test_old_flows.py::test_"
BUILTIN = "runtime/test_builtin.py::test_"
CONFIG = "runtime/test_config.py::test_"
ROUTES = "runtime/test_routes.py::test_"
DIFFERENTIAL = "interop/test_differential.py::test_"
TESTING = "cli/test_cases.py::test_"
FINDINGS = "runtime/test_flow_checks.py::test_"
SERVED_FLOWS = "runtime/service/test_flows.py::test_"
SERVED_BLOBS = "runtime/service/test_blobs.py::test_"
OLD_DOCUMENTS = "flows/test_old_documents.py::test_"
HTTP = "runtime/test_http_plugin.py::test_"
ENVIRONMENT = "runtime/test_environment.py::test_"
VALIDATE = "cli/test_validate.py::test_"
MANY = "cli/test_run_many.py::test_"
UNDER_BOTH = "interop/test_builtin.py::test_"
MALFORMED = "malformed/test_malformed.py::test_"
YAML = "flows/test_yaml.py::test_"
PATHS = "flows/test_paths.py::test_"
TYPES = "flows/types/test_checking.py::test_"
CANONICAL = "flows/test_canonical.py::test_"
RANDOM = f"{DIFFERENTIAL}random_flows_end_alike"

CONSTRUCTS: Mapping[str, Mapping[str, str]] = {
    "a.1 flow": {
        "every field": f"{LOADER}every_field_of_the_format_is_read",
        "the empty document": f"{LOADER}the_empty_document_is_a_flow",
        "explicit nulls": f"{LOADER}an_explicit_null_is_the_same_as_nothing",
        "unknown keys": f"{LOADER}a_key_that_means_nothing_is_a_warning",
        "YAML and JSON": f"{LOADER}a_yaml_and_a_json_file_of_the_same_flow_are_the_same_flow",
    },
    "a.2 step": {
        "id, component, input, onError, mustExecute, metadata": f"{LOADER}every_field_of_the_format_is_read",
        "a missing id or component": f"{LOADER}a_wrong_shape_is_named_with_its_path",
        "an absent input": f"{RULES}a_step_without_an_input_is_called_with_null",
        "metadata for components": "runtime/test_callbacks.py::test_metadata_are_those_of_the_flow_and_of_the_step",
    },
    "a.3 schemas": {
        "the four properties and $defs": f"{LOADER}variables_are_declared_by_their_schemas",
        "the flat form": f"{LOADER}a_wrong_shape_is_named_with_its_path",
        "none is enforced in a run": f"{RULES}schemas_are_not_enforced_and_defaults_of_the_input_not_filled_in",
    },
    "a.4 onError": {
        "absent, null, fail": f"{ENGINE}dependants_fail_with_the_same_error_and_are_not_called",
        "useDefault": f"{ENGINE}use_default_makes_a_success_of_a_failed_execution",
        "a default is a literal": f"{RULES}the_default_of_on_error_is_a_literal",
        "retry": f"{RETRIES}a_failed_component_is_tried_again_where_the_step_asks_for_it",
        "any other action": f"{LOADER}a_wrong_shape_is_named_with_its_path",
    },
    "a.5 test and FlowResult": {
        "cases": f"{TESTING}each_case_is_told_and_one_that_differs_fails",
        "configFile, config": f"{TESTING}the_configuration_of_a_test_is_found",
        "both": f"{TESTING}what_upstream_would_skip_in_silence_is_an_error",
        "servers of 0.7": f"{OLD_DOCUMENTS}servers_of_tests_are_refused_with_what_to_write_instead",
        "partial matching": "flows/test_matching.py::test_these_match",
        "what differs": "flows/test_matching.py::test_these_differ_and_the_place_is_told",
        "examples and cases": f"{SERVED_FLOWS}all_examples_are_those_of_the_flow_and_the_inputs_of_its_tests",
    },
    "a.6 0.7 and 0.8": {
        "detection": f"{LOADER}every_old_construct_of_a_document_is_told",
        "mixed documents": f"{LOADER}a_mixed_document_is_refused_by_the_names_of_both",
        "a warning": f"{OLD_DOCUMENTS}an_old_document_is_read_with_a_warning_that_names_the_upgrade",
        "the rewritten document": "flows/test_upgrade.py::test_every_old_document_becomes_one_of_0_9_that_can_run",
    },
    "b.1 forms": {
        "every form, their order, plain data": f"{EXPRESSIONS}an_expression_has_the_value_that_the_format_gives_it",
        "$literal": f"{ENGINE}literals_are_handed_on_untouched",
        "ill-formed ones": f"{LOADER}a_wrong_shape_is_named_with_its_path",
    },
    "b.2 paths": {
        "every form": f"{PATHS}a_path_is_read_as_the_format_says",
        "what is none": f"{PATHS}what_is_no_path_is_refused_with_the_place",
        "indexes and fields": f"{PATHS}an_index_applies_to_arrays_and_a_field_to_objects_only",
        "the normal form": f"{PATHS}a_path_has_one_normal_form",
    },
    "b.3 resolution": {
        "$input": f"{EXPRESSIONS}a_path_into_no_input_fails_and_its_root_is_null",
        "$step": f"{ENGINE}a_path_into_a_null_result_is_null_and_into_anything_else_must_exist",
        "a failed step": f"{ENGINE}dependants_fail_with_the_same_error_and_are_not_called",
        "$variable": f"{EXPRESSIONS}a_variable_is_what_was_given_then_what_is_declared_then_the_default",
        "$if": f"{ENGINE}only_the_branch_taken_runs_also_when_the_condition_is_a_step",
        "a failing condition": f"{ENGINE}a_failing_condition_counts_as_false",
        "$coalesce": f"{ENGINE}coalesce_runs_one_operand_after_the_other",
        "objects and arrays": f"{ENGINE}the_first_failing_element_in_document_order_is_the_failure",
        "all of it against upstream": RANDOM,
    },
    "b.4 codes": {"every code": f"{EXPRESSIONS}a_failure_has_the_code_and_the_message_of_the_format"},
    "c.1 what runs": {
        "what nobody needs": f"{ENGINE}a_step_that_nobody_needs_does_not_run",
        "mustExecute": f"{ENGINE}a_step_that_must_execute_runs_and_its_failure_does_not_fail_the_flow",
        "once an item": f"{ENGINE}a_step_runs_once_however_many_need_it",
        "lazily": f"{EXPRESSIONS}only_what_evaluation_waits_for_now_is_needed",
        "defect 1": f"{DIFFERENTIAL}upstream_forgets_a_step_that_the_output_needs_late",
        "defect 2": f"{DIFFERENTIAL}upstream_stalls_on_a_step_that_another_one_needs_late",
        "defect 2 in nested runs": f"{DIFFERENTIAL}upstream_never_ends_a_nested_run_with_such_a_step",
        "the default of a variable": f"{DIFFERENTIAL}upstream_forgets_a_step_that_only_the_default_of_a_variable_needs",
    },
    "c.2 parallelism": {
        "the limit of a run": f"{ENGINE}at_most_so_many_steps_of_a_run_are_called_at_once",
        "over all items": f"{ENGINE}the_limit_counts_over_all_items_of_a_batch",
        "ten by default": f"{RULES}ten_steps_run_at_once_by_default",
        "earlier items first": f"{ENGINE}earlier_items_go_first",
    },
    "c.3 failure": {
        "others go on": f"{ENGINE}dependants_fail_with_the_same_error_and_are_not_called",
        "hidden failures": f"{ENGINE}a_failed_step_is_told_with_its_error_even_when_the_flow_goes_on",
        "what onError covers": f"{ENGINE}use_default_does_not_cover_the_steps_own_input",
        "not the search for the component": f"{RULES}use_default_does_not_cover_a_component_without_a_route",
        "the status of a run": f"{RULES}a_run_has_failed_when_one_of_its_items_has",
    },
    "c.4 retries": {
        "two budgets, attempts": f"{RETRIES}the_two_budgets_are_separate_and_attempts_count_through",
        "transport": f"{RETRIES}a_lost_server_is_tried_again_whatever_the_step_says",
        "classes of codes": f"{RETRIES}what_would_fail_again_is_not_tried_again",
        "backoffs": f"{RETRIES}the_delays_are_those_of_the_format",
        "useDefault first": f"{RETRIES}a_default_takes_effect_at_the_first_failure",
        "builtin inputs fail at once": f"{RETRIES}a_wrong_input_of_a_builtin_component_fails_at_once",
        "retry of the configuration": f"{RETRIES}a_configuration_says_how_often_and_how_soon",
    },
    "c.5 errors": {
        "of components": f"{ENGINE}any_code_of_a_component_arrives_untouched",
        "in the family of 0.11": f"{RULES}the_failure_of_a_component_has_a_code_of_the_0_11_family",
        "around components": f"{ENGINE}a_lost_server_is_a_transport_error_that_names_step_and_component",
        "routing": f"{ENGINE}a_component_without_a_route_is_a_routing_error",
        "iterate": f"{BUILTIN}a_round_that_fails_or_says_nothing_fails_the_step_with_that_error",
        "mcp": "runtime/test_mcp.py::test_a_tool_that_reports_an_error_fails_its_step",
        "against upstream": RANDOM,
    },
    "c.6 overrides": {
        "both shapes": f"{ENGINE}overrides_change_steps_for_one_run_in_both_shapes",
        "merge patches": "runtime/test_stores.py::test_patches_merge_as_in_the_appendix_of_the_rfc",
        "unknown steps, json_patch": f"{ENGINE}wrong_overrides_are_refused_before_the_run",
        "the top flow alone": f"{RULES}overrides_and_variables_do_not_reach_nested_flows",
    },
    "c.7 variables": {
        "the order": f"{ENGINE}variables_are_given_then_declared_then_defaulted_inline",
        "implied defaults": f"{EXPRESSIONS}a_variable_is_what_was_given_then_what_is_declared_then_the_default",
        "missing and unread": f"{RULES}a_required_variable_that_nobody_reads_may_be_missing",
        "not inherited": f"{RULES}overrides_and_variables_do_not_reach_nested_flows",
        "env_var, STEPFLOW_VAR": f"{MANY}variables_come_from_the_environment_where_that_is_asked_for",
    },
    "c.8 subflows and batches": {
        "isolated items in order": f"{RULES}a_run_has_failed_when_one_of_its_items_has",
        "empty": "runtime/test_local.py::test_an_empty_batch_has_no_results",
        "from components": "runtime/test_callbacks.py::test_a_run_that_is_waited_for_answers_with_results_in_order",
        "streams": "runtime/test_streams.py::test_memory_does_not_grow_with_the_number_of_inputs",
    },
    "c.9 validation": {
        "each finding": f"{CHECKS}each_finding_has_its_code_level_and_place",
        "fatal and error": f"{CHECKS}a_flow_is_refused_for_what_is_fatal_and_on_demand_for_errors",
        "plugins and routes": f"{FINDINGS}plugins_and_routes_that_lead_nowhere_are_told",
        "types": f"{TYPES}what_never_fits_is_an_error_with_its_place_and_both_types",
        "infer_schema": f"{FINDINGS}a_server_that_infers_schemas_is_asked_step_by_step",
        "integer where number is wanted": f"{FINDINGS}an_integer_is_a_number_and_null_may_come_where_it_is_allowed",
        "infer": f"{VALIDATE}infer_writes_the_schemas_of_steps_to_stdout",
        "references against upstream": RANDOM,
    },
    "c.10 old semantics": {
        "every step in 0.7": f"{OLD}every_step_runs_in_0_7",
        "needed ones in 0.8": f"{OLD}in_0_8_what_is_needed_runs_and_what_must",
        "skipIf": f"{OLD}skip_if_takes_false_zero_and_the_empty_text_for_false",
        "a condition without a value": f"{OLD}a_condition_that_is_skipped_or_failed_does_not_skip",
        "spreading": f"{OLD}a_skip_spreads_to_whoever_refers_to_the_step",
        "onSkip": f"{OLD}a_default_stops_the_spreading_and_the_path_is_not_applied_to_it",
        "onError": f"{OLD}the_default_of_on_error_is_a_template",
        "the first element": f"{OLD}the_first_element_without_a_value_decides",
        "errors of the whole run": f"{OLD}an_input_that_cannot_be_resolved_fails_the_whole_run",
        "mustExecute in 0.8": f"{OLD}in_0_8_a_failed_step_that_must_run_fails_the_flow",
        "variables in 0.8": f"{OLD}the_inline_default_of_a_variable_comes_before_that_of_its_schema",
        "SkipStep": f"{OLD}a_component_that_skips_spreads_like_a_condition",
        "SkipStep in 0.9": f"{OLD}a_skipped_step_of_a_new_flow_is_null",
    },
    "d builtins": {
        "create_messages": f"{BUILTIN}messages_are_made_of_a_prompt",
        "openai": "runtime/test_builtin_openai.py::test_a_model_is_asked_and_its_text_is_the_response",
        "put_blob, get_blob": f"{BUILTIN}blobs_are_stored_and_read",
        "load_file": "runtime/test_builtin_files.py::test_a_file_is_read_by_its_extension",
        "eval": f"{BUILTIN}a_stored_flow_is_evaluated_and_its_failure_is_data",
        "map": f"{BUILTIN}a_flow_is_mapped_over_a_list_in_order",
        "map without $literal": f"{BUILTIN}the_flow_of_a_map_that_is_no_literal_is_resolved_outside",
        "iterate": f"{BUILTIN}a_flow_is_repeated_until_it_gives_a_result",
        "its limit": f"{BUILTIN}a_result_wins_over_a_next_round_and_a_thousand_rounds_are_the_end",
        "unchecked inner flows": f"{BUILTIN}an_unchecked_flow_fails_item_by_item_and_never_hangs",
        "a blob that is no flow": f"{BUILTIN}a_blob_that_is_no_flow_is_not_evaluated",
        "wrong inputs": f"{BUILTIN}wrong_input_is_refused_at_once_as_a_failed_step",
        "against upstream": RANDOM,
    },
    "e configuration": {
        "its keys": f"{CONFIG}a_configuration_is_read",
        "keys without effect": f"{CONFIG}keys_without_effect_are_warned_of",
        "what is wrong": f"{CONFIG}what_is_wrong_is_told_with_file_line_and_fix",
        "workingDirectory": f"{CONFIG}a_configured_runtime_starts_its_servers_in_the_working_directory",
        "lookup": f"{CONFIG}a_configuration_is_found_beside_the_flow_and_then_here",
        "in both runtimes": f"{UNDER_BOTH}a_configuration_with_what_only_this_library_knows_works_in_both",
    },
    "e.1 plugins": {
        "builtin": f"{CONFIG}a_configuration_is_read",
        "stepflow, command": f"{HTTP}a_command_that_announces_its_port_is_driven_over_http",
        "stepflow over stdio": "runtime/test_plugins.py::test_a_server_that_died_is_started_again_for_the_next_step",
        "stepflow, url": f"{HTTP}a_configured_url_is_posted_to_with_its_headers",
        "mcp": "runtime/test_mcp.py::test_the_result_of_a_tool_is_its_content",
        "mock": "runtime/test_mock.py::test_the_result_is_looked_up_by_the_value_of_the_input",
        "inprocess": f"{CONFIG}a_server_in_process_is_imported_by_name",
        "unknown types": f"{CONFIG}a_type_of_plugin_that_there_is_not_is_told_with_what_there_is",
    },
    "e.2 environment": {
        "every form": f"{ENVIRONMENT}variables_are_filled_in",
        "what is refused": f"{ENVIRONMENT}what_cannot_be_filled_in_is_refused_with_the_reason",
        "where": f"{CONFIG}variables_are_filled_in_args_and_env_and_nowhere_else",
    },
    "e.3 routes": {
        "the trie": f"{ROUTES}the_most_literal_pattern_wins",
        "placeholders": f"{ROUTES}a_placeholder_is_one_part_that_is_not_empty",
        "conflicts": f"{ROUTES}two_patterns_for_the_same_paths_are_refused",
        "malformed ones": f"{ROUTES}a_malformed_pattern_is_refused_by_name",
        "rules in order": f"{ROUTES}rules_are_tried_in_order_and_there_is_no_way_back_to_a_lesser_pattern",
        "templates": f"{ROUTES}the_component_of_a_plugin_comes_from_the_placeholder_or_the_template",
        "conditions": f"{ROUTES}all_conditions_of_a_rule_must_hold",
        "a path that is not there": f"{RULES}a_condition_on_a_path_that_is_not_there_fails_the_routing",
        "allow and deny": f"{ROUTES}allowed_and_denied_components_are_heeded_also_for_a_single_rule",
        "unknown plugins": f"{CONFIG}what_is_wrong_is_told_with_file_line_and_fix",
    },
    "f blobs": {
        "ids": f"{CANONICAL}blob_ids_are_those_that_the_orchestrator_gives",
        "numbers and strings": f"{CANONICAL}numbers_and_strings_are_written_as_the_format_says",
        "flow ids": f"{CANONICAL}flow_ids_are_those_that_the_orchestrator_gives",
        "flow ids against upstream": RANDOM,
        "types": f"{BUILTIN}blobs_of_each_type_have_the_ids_of_the_format",
        "the HTTP API": f"{SERVED_BLOBS}the_two_ids_of_the_same_bytes_are_those_of_the_orchestrator",
    },
    "g CLI and server": {
        "run": "cli/test_run.py::test_the_outcome_is_alone_on_stdout_and_the_steps_are_told_on_stderr",
        "run --inputs": f"{MANY}many_inputs_give_one_outcome_a_line_in_their_order",
        "run --variables": f"{MANY}variables_come_from_a_file_or_the_command_line",
        "run --overrides": f"{MANY}overrides_change_steps_for_all_inputs",
        "test": f"{TESTING}cases_that_all_pass_exit_with_0",
        "test --update": f"{TESTING}an_update_writes_what_differs_and_what_is_missing",
        "validate": "cli/test_program.py::test_a_valid_flow_validates",
        "validate --type-check": f"{VALIDATE}types_are_checked_on_demand_against_what_servers_report",
        "infer": f"{VALIDATE}infer_writes_to_a_file_that_is_a_flow_of_its_own",
        "list-components": "cli/test_program.py::test_components_are_listed_with_the_paths_that_flows_use",
        "visualize": "cli/test_visualize.py::test_the_drawing_is_alone_on_stdout_and_is_svg",
        "upgrade": "cli/test_upgrade.py::test_an_upgraded_flow_goes_to_stdout_with_its_comments",
        "serve": "cli/test_serve.py::test_the_port_is_alone_on_stdout_and_a_signal_ends_it_in_order",
        "submit": "cli/test_serve.py::test_a_submitted_flow_has_its_outcome_alone_on_stdout",
        "REST": "runtime/service/test_contract.py::test_the_operations_of_the_orchestrator_0_11_are_there",
    },
    "annex 2 YAML": {
        "scalars": f"{YAML}scalars_are_read_by_the_rules_of_upstream",
        "keys, <<": f"{YAML}keys_become_their_text_and_the_merge_key_is_a_key",
        "anchors": f"{YAML}anchors_and_aliases_work_also_as_keys",
        "repeated keys": f"{YAML}of_a_repeated_key_the_last_value_counts_at_the_place_of_the_first",
        "what is refused": f"{YAML}bad_yaml_gets_one_error_with_its_line",
    },
    "bad input": {
        "flows": f"{MALFORMED}a_changed_flow_is_read_or_refused_with_its_places",
        "texts": f"{MALFORMED}a_garbled_flow_is_read_or_refused_with_file_and_line",
        "runs": f"{MALFORMED}a_changed_flow_runs_to_an_outcome_or_is_refused",
        "configurations": f"{MALFORMED}a_changed_configuration_is_read_or_refused_with_its_key",
        "paths": f"{MALFORMED}any_path_is_followed_or_refused_where_it_stands",
        "overrides": f"{MALFORMED}changed_overrides_are_applied_or_refused_with_their_place",
    },
}
