// The tools that judge infra/: helm, kubeconform with Kubernetes' schemas, the Compose specification's reader. infra/tools.sh builds them.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const INFRA = fileURLToPath(new URL('../../infra/', import.meta.url))
const BUILD_TIMEOUT_MS = 10 * 60_000 // 75 s on two idle cores with an empty Go cache.

export interface InfraTools {
  /** Runs one of them; its output, or an Error with its words. */
  helm(...argv: string[]): string
  kubeconform(yaml: string): string
  /** The file as the specification reads it: anchors merged, short forms written out, paths from its folder. */
  compose(file: string): string
}

/** The tools; `undefined` where a test may skip (the reason is printed). With CI=true they are built, or it throws. */
export function infraTools(): InfraTools | undefined {
  const folder = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'homeostat', 'infra')
  if (!existsSync(join(folder, 'versions'))) {
    if (process.env['CI'] !== 'true') {
      console.warn(`skipped: no helm, kubeconform and compose in ${folder}; build them with: sh infra/tools.sh`)
      return undefined
    }
    execFileSync('sh', [join(INFRA, 'tools.sh'), folder], { stdio: ['ignore', 'ignore', 'inherit'], timeout: BUILD_TIMEOUT_MS })
  }
  const run = (program: string, argv: readonly string[], more: { input?: string; cwd?: string } = {}): string => {
    try {
      return execFileSync(join(folder, program), argv, { encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'], maxBuffer: 64 * 2 ** 20, ...more })
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string }
      throw new Error(`${program} ${argv.join(' ')}\n${stdout}${stderr}`)
    }
  }
  const schemas = `${folder}/schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json`
  return {
    helm: (...argv) => run('helm', argv),
    kubeconform: yaml => run('kubeconform', ['-strict', '-summary', '-output', 'json', '-schema-location', schemas, '-'], { input: yaml }),
    compose: file => run('compose', [file], { cwd: dirname(file) })
  }
}
