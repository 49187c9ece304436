// Takes secrets out of texts that leave the process: errors, details, logs.

const SECRET_LENGTH_MIN = 4 // Shorter ones would blot out ordinary words, and protect nothing.

/** @returns a function that replaces each secret, as it is, without its scheme (`Bearer …`), in Base64 and URL-encoded */
export function redactor(secrets: readonly string[]): (text: string) => string {
  const forms = new Set<string>()
  for (const secret of secrets) {
    for (const part of [secret, secret.replace(/^\S+\s+/, '')]) {
      for (const form of [part, encodeURIComponent(part), Buffer.from(part).toString('base64'), JSON.stringify(part).slice(1, -1)]) forms.add(form)
    }
  }
  const longestFirst = [...forms].filter(form => form.length >= SECRET_LENGTH_MIN).sort((a, b) => b.length - a.length)
  return text => longestFirst.reduce((redacted, form) => redacted.replaceAll(form, '[redacted]'), text)
}
