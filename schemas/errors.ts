// Every error a user can meet: code, meaning, and what to do about it. infra/docs/errors.md is generated from this table.

export const ERROR_CODES = {
  config_invalid: {
    retriable: false,
    meaning: 'A configuration, policy or runbook file does not fit its schema.',
    action: 'Correct the file at the line and column that the message names.'
  },
  usage: { retriable: false, meaning: 'The command line is wrong.', action: 'See `homeostat --help`.' },
  not_found: { retriable: false, meaning: 'The named thing does not exist.', action: 'List what exists with the matching command.' },
  log_unavailable: {
    retriable: true,
    meaning: 'The log cannot take or give records now.',
    action: 'Check the disk or the brokers; senders are told to wait meanwhile.'
  },
  log_full: { retriable: true, meaning: 'The log reached its size limit or the disk is full.', action: 'Free space, or raise log.embedded.bytesMax.' },
  record_too_large: { retriable: false, meaning: 'A record exceeds the limit of the log.', action: 'Send smaller batches, or raise the limit on both sides.' },
  unknown_topic: {
    retriable: false,
    meaning: 'The topic is not in schemas/topics.ts, or the cluster does not have it.',
    action: 'On Kafka run `homeostat topics apply`; a topic that is in no table is a bug: report it.'
  },
  store_unavailable: { retriable: true, meaning: 'ClickHouse does not answer.', action: 'Check store.clickhouse.url and the server; inserts wait meanwhile.' },
  store_refused: { retriable: false, meaning: 'ClickHouse refused a statement.', action: 'Read the message; check schema version and grants.' },
  migration_changed: {
    retriable: false,
    meaning: 'A migration that was applied has another checksum now.',
    action: 'Restore the file; put the change into a new migration.'
  },
  schema_behind: {
    retriable: false,
    meaning: 'The tables in ClickHouse are older than this version needs, and it may not change them itself (store.migrate: false).',
    action: 'Run `homeostat migrate` with a user that may make tables; `homeostat migrate --plan` shows what it would do.'
  },
  malformed_otlp: { retriable: false, meaning: 'A request body is not valid OTLP.', action: 'Check the sender; the offset of the fault is in the message.' },
  malformed_alert: {
    retriable: false,
    meaning: 'A request body is not a webhook of Alertmanager (version 4).',
    action: 'Check the receiver that posts to /v1/alerts; the message names the field.'
  },
  body_too_large: {
    retriable: false,
    meaning: 'A request body is over the limit, before or after decompression.',
    action: 'Send smaller batches, or raise intake.bodyBytesMax.'
  },
  unsupported_encoding: {
    retriable: false,
    meaning: 'Content type or encoding that intake does not speak.',
    action: 'Use protobuf or JSON with gzip, zstd or identity.'
  },
  unauthenticated: { retriable: false, meaning: 'No valid bearer token.', action: 'Send the token that intake.tokens or console.tokens lists.' },
  overloaded: { retriable: true, meaning: 'More data in flight than admission allows.', action: 'None: senders retry after the delay they are told.' },
  canary_refused: {
    retriable: false,
    meaning: 'A version was to start as a canary that is quarantined since it was rolled back.',
    action: 'Find out why it was rolled back; `homeostat canary release` lets it start again.'
  },
  command_refused: {
    retriable: false,
    meaning: 'A command failed signature, environment, expiry, nonce or allow-list checks.',
    action: 'Look at the outcome record for the check that failed.'
  },
  step_refused: {
    retriable: false,
    meaning: 'A driver does not allow this verb, target or argument.',
    action: 'Extend the allow-list of the driver if the step is wanted.'
  },
  driver_failed: { retriable: true, meaning: 'A driver could not act, and nothing happened.', action: 'See the detail.' },
  driver_unknown: {
    retriable: false,
    meaning: 'A driver cannot tell whether its act took effect.',
    action: 'The target is frozen: look at it, then release it.'
  },
  escalation_failed: { retriable: true, meaning: 'A page could not be delivered.', action: 'Check the webhook; delivery is repeated.' },
  checkpoint_invalid: { retriable: false, meaning: 'A checkpoint has another format version.', action: 'State is rebuilt from the log.' },
  fenced: {
    retriable: false,
    meaning: 'Another process has taken over what this one owned.',
    action: 'None: it waits for its next assignment. If it repeats, look for processes that are stopped for seconds.'
  },
  standby: {
    retriable: true,
    meaning: 'This process holds no state now: another one owns it.',
    action: 'None: the owner acts; this process is ready to follow it.'
  },
  model_invalid: { retriable: false, meaning: 'A model record cannot be loaded.', action: 'Train again.' },
  timeout: { retriable: true, meaning: 'The answer did not come in time.', action: 'See which dependency the message names.' },
  bug: { retriable: false, meaning: 'An assertion failed.', action: 'Report it with the log lines before it.' }
} as const

export type ErrorCode = keyof typeof ERROR_CODES

/** The one error class: a code of the table, a sentence that says what, where and what to do, and its cause. */
export class AppError extends Error {
  readonly code: ErrorCode
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: Readonly<Record<string, unknown>> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.details = options.details ?? {}
  }

  get retriable(): boolean {
    return ERROR_CODES[this.code].retriable
  }
}

/** @throws AppError `bug` when `condition` is false: programmer errors stop the worker, which restarts from its checkpoint. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AppError('bug', message)
}
