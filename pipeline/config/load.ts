// Reads homeostat.yaml: text → ${VAR:-default} → YAML → schema → HOMEOSTAT_SECTION__KEY overrides → secrets resolved.
//
// Errors name file, line and column (schemas/yaml.ts) or the environment variable. Relative paths are taken from the
// file's folder, so a configuration means the same wherever the process is started. Runs once, before anything opens.

import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, isAbsolute, resolve } from 'node:path'
import { parse } from 'yaml'
import { type Config, type ConfigInput, configSchema } from '../../schemas/config.ts'
import { AppError } from '../../schemas/errors.ts'
import { issueInWords } from '../../schemas/issue-words.ts'
import { formatProblem, parseYaml } from '../../schemas/yaml.ts'

export const CONFIG_FILE_DEFAULT = 'homeostat.yaml'
const MINIMAL = 'apiVersion: homeostat.io/v1\nkind: Homeostat\n'
const OVERRIDE = /^HOMEOSTAT_([A-Z0-9_]+)$/
/** The keys at the top that are values; every other override names its section with `__`. */
const TOP_LEVEL_VALUES = new Set(['DATA_DIR', 'ENVIRONMENT'])

export interface LoadedConfig {
  config: Config
  /** The file, or undefined when only defaults (and overrides) hold. */
  file: string | undefined
  /** Dotted path → environment variable that set it. */
  overrides: ReadonlyMap<string, string>
}

/**
 * @param file        path given by the user; undefined = `homeostat.yaml` in `folder` if it is there, else the defaults
 * @param environment process environment
 * @throws AppError `config_invalid` with every problem found, `not_found` when a named file is missing
 */
export function loadConfig(file: string | undefined, folder: string, environment: Readonly<Record<string, string | undefined>>): LoadedConfig {
  const path = findFile(file ?? environment.HOMEOSTAT_CONFIG, folder)
  const text = path === undefined ? MINIMAL : interpolate(readFileSync(path, 'utf8'), environment, path)
  const parsed = parseYaml(configSchema, text, path ?? 'defaults')
  if (!parsed.ok) throw new AppError('config_invalid', parsed.problems.map(problem => formatProblem(problem, text)).join('\n\n'))
  const overrides = overridesFrom(environment)
  const config = overrides.size === 0 ? parsed.value : withOverrides(parse(text) as Record<string, unknown>, overrides, environment)
  const root = path === undefined ? folder : dirname(path)
  return { config: resolvePaths(config, root), file: path, overrides }
}

/** The text behind `env:NAME` or `file:PATH`. @throws AppError `config_invalid` when it is missing or empty */
export function resolveSecret(reference: string, environment: Readonly<Record<string, string | undefined>>): string {
  const separator = reference.indexOf(':')
  const place = reference.slice(separator + 1)
  const value = reference.startsWith('env:') ? environment[place] : existsSync(place) ? readFileSync(place, 'utf8').trim() : undefined
  if (!value)
    throw new AppError(
      'config_invalid',
      `the secret ${reference} is empty or missing: set ${reference.startsWith('env:') ? `the variable ${place}` : `the file ${place}`}`
    )
  return value
}

function findFile(file: string | undefined, folder: string): string | undefined {
  if (file !== undefined) {
    const path = resolve(folder, file)
    const found = statSync(path, { throwIfNoEntry: false })
    if (found === undefined) throw new AppError('not_found', `there is no configuration file ${path}: check --config, or write one with \`homeostat init\``)
    if (found.isDirectory()) throw new AppError('usage', `--config ${path} is a folder: name the file in it`)
    return path
  }
  const path = resolve(folder, CONFIG_FILE_DEFAULT)
  return existsSync(path) ? path : undefined
}

function interpolate(text: string, environment: Readonly<Record<string, string | undefined>>, file: string): string {
  const lines = text.split('\n')
  return lines
    .map((line, index) =>
      // A comment may show the syntax without meaning it.
      line.trimStart().startsWith('#')
        ? line
        : line.replaceAll(/\$\{([A-Z_][A-Z0-9_]*)(:-([^}]*))?\}/g, (_, name: string, hasDefault: string | undefined, fallback: string) => {
            const value = environment[name] ?? (hasDefault === undefined ? undefined : fallback)
            if (value === undefined)
              throw new AppError('config_invalid', `${file}:${index + 1}: the variable ${name} is not set: set it, or write \${${name}:-default}`)
            return value
          })
    )
    .join('\n')
}

function overridesFrom(environment: Readonly<Record<string, string | undefined>>): Map<string, string> {
  const overrides = new Map<string, string>()
  for (const name of Object.keys(environment)) {
    const match = OVERRIDE.exec(name)
    if (!match || !(match[1]!.includes('__') || TOP_LEVEL_VALUES.has(match[1]!))) continue
    overrides.set(match[1]!.split('__').map(camelCase).join('.'), name)
  }
  return overrides
}

function camelCase(upper: string): string {
  return upper.toLowerCase().replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
}

function withOverrides(
  raw: Record<string, unknown>,
  overrides: ReadonlyMap<string, string>,
  environment: Readonly<Record<string, string | undefined>>
): Config {
  for (const [path, variable] of overrides) {
    const keys = path.split('.')
    let node = raw
    for (const key of keys.slice(0, -1)) {
      if (typeof node[key] !== 'object' || node[key] === null) node[key] = {}
      node = node[key] as Record<string, unknown>
    }
    node[keys.at(-1)!] = parse(environment[variable] ?? '')
  }
  const checked = configSchema.safeParse(raw satisfies unknown as ConfigInput)
  if (checked.success) return checked.data
  const problems = checked.error.issues.map(issue => {
    const path = issue.path.join('.')
    const variable = [...overrides].find(([key]) => path === key || path.startsWith(`${key}.`) || key.startsWith(`${path}.`))?.[1]
    return issueInWords(issue, raw, variable ?? path)
  })
  throw new AppError('config_invalid', problems.join('\n'))
}

function resolvePaths(config: Config, root: string): Config {
  const at = (path: string): string => (isAbsolute(path) ? path : resolve(root, path))
  const { policiesDir, runbooksDir, signingKeyFile } = config.decide
  const { drivers, verificationKeyFiles } = config.act
  return {
    ...config,
    dataDir: at(config.dataDir),
    intake: { ...config.intake, ...(config.intake.tls && { tls: withFiles(config.intake.tls, at) }) },
    kafka: { ...config.kafka, ...(config.kafka.tls && { tls: withFiles(config.kafka.tls, at) }) },
    decide: {
      ...config.decide,
      ...(policiesDir && { policiesDir: at(policiesDir) }),
      ...(runbooksDir && { runbooksDir: at(runbooksDir) }),
      ...(signingKeyFile && { signingKeyFile: at(signingKeyFile) })
    },
    act: {
      ...config.act,
      ...(verificationKeyFiles && { verificationKeyFiles: verificationKeyFiles.map(at) }),
      drivers: { ...drivers, ...(drivers.process && { process: { definitionsFile: at(drivers.process.definitionsFile) } }) }
    }
  }
}

/** Every value is a path: certificates, keys, authorities. */
function withFiles<Files extends Readonly<Record<string, string | undefined>>>(files: Files, at: (path: string) => string): Files {
  return Object.fromEntries(Object.entries(files).map(([key, path]) => [key, path === undefined ? undefined : at(path)])) as Files
}
