// Takes secrets out of texts that leave the process: errors, details, logs, command lines of others.

const SECRET_LENGTH_MIN = 4 // Shorter ones would blot out ordinary words, and protect nothing.
const REDACTED = '[redacted]'
/** Names of options and variables whose value is a secret, as far as a name can tell. */
const SECRET_NAME = /pass(word|wd|phrase)?$|secret|token|credential|api[-_]?key|access[-_]?key|private[-_]?key|auth(orization)?$|cookie/i
const URL_CREDENTIALS = /(\w+:\/\/)[^/@\s]+@/g
/** What is a secret by its look: an authorization scheme with its value, a JSON web token. */
const SECRET_VALUE = /\b(bearer|basic)\s+\S+|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*/gi

/** @returns a function that replaces each secret, as it is, without its scheme (`Bearer …`), in Base64 and URL-encoded */
export function redactor(secrets: readonly string[]): (text: string) => string {
  const forms = new Set<string>()
  for (const secret of secrets) {
    for (const part of [secret, secret.replace(/^\S+\s+/, '')]) {
      for (const form of [part, encodeURIComponent(part), Buffer.from(part).toString('base64'), JSON.stringify(part).slice(1, -1)]) forms.add(form)
    }
  }
  const longestFirst = [...forms].filter(form => form.length >= SECRET_LENGTH_MIN).sort((a, b) => b.length - a.length)
  return text => longestFirst.reduce((redacted, form) => redacted.replaceAll(form, REDACTED), text)
}

/**
 * An argument vector without what looks like a secret: `--password=x`, `--token x`, `API_KEY=x`, `https://user:x@host`, `Bearer x`. By names
 * and looks alone: a secret that is a bare word among others stays.
 */
export function redactArguments(argv: readonly string[]): string[] {
  return argv.map((argument, index) => {
    const named = /^(-{0,2}[\w.-]+)=/.exec(argument)?.[1]
    if (named !== undefined && SECRET_NAME.test(named)) return `${named}=${REDACTED}`
    const option = argv[index - 1]
    if (option !== undefined && /^--?[\w.-]+$/.test(option) && SECRET_NAME.test(option) && !argument.startsWith('-')) return REDACTED
    return argument.replaceAll(URL_CREDENTIALS, `$1${REDACTED}@`).replaceAll(SECRET_VALUE, REDACTED)
  })
}
