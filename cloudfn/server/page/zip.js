// A ZIP archive whose files are stored as they are (PKWARE's APPNOTE, sections 4.3.7, 4.3.12, 4.3.16).

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});
const UTF8 = 0x800; // names are UTF-8
const DATE = 0x21; // 1 January 1980: the same pictures give the same archive

/** A blob of [{name, blob}, ...]. */
export async function zip(files) {
  const parts = [], directory = [];
  let offset = 0;
  for (const { name, blob } of files) {
    const data = new Uint8Array(await blob.arrayBuffer());
    const label = new TextEncoder().encode(name);
    // Version, flags, method, time, date; checksum, the two sizes; length of the name, of what is extra.
    const common = [[2, 20], [2, UTF8], [2, 0], [2, 0], [2, DATE], [4, checksum(data)], [4, data.length], [4, data.length], [2, label.length], [2, 0]];
    const head = numbers([[4, 0x04034b50], ...common]);
    directory.push(numbers([[4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), label);
    parts.push(head, label, data);
    offset += head.length + label.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = numbers([[4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, size], [4, offset], [2, 0]]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

function checksum(data) {
  let crc = -1;
  for (const byte of data) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return (crc ^ -1) >>> 0;
}

/** Little-endian numbers, each [bytes, value]. */
function numbers(fields) {
  return Uint8Array.from(fields.flatMap(([bytes, value]) => Array.from({ length: bytes }, (_, at) => (value >>> (8 * at)) & 255)));
}
