// Text of strangers (names in telemetry, answers of programs) for a terminal.

/** Control characters but line breaks, which could rewrite what is on the screen, become visible: `\x1b`. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the ones to be replaced
  return text.replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, one => `\\x${one.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
